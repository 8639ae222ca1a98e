"""The convnets of keras.applications are expanded without a false alarm, to the right number."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt

# The smallest of each family, with the least size of image it takes.
FAMILIES = {
    "VGG16": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "InceptionV3": 75,
    "InceptionResNetV2": 75,
    "Xception": 71,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "DenseNet121": 32,
    "NASNetMobile": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "ConvNeXtTiny": 32,
}


def _model(name, **options):
    keras.utils.set_random_seed(0)
    length = FAMILIES[name]
    options |= {"input_shape": (length, length, 3), "weights": None, "classes": 3}
    model = getattr(keras.applications, name)(classifier_activation=None, **options)
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    x = np.random.default_rng(0).uniform(0, 255, (4, length, length, 3)).astype("float32")
    return model, x, np.eye(3, dtype="float32")[[0, 1, 2, 0]]


def _near(model):
    generator = np.random.default_rng(1)
    return [
        v.numpy() + 1e-3 * generator.normal(size=v.shape).astype("float32")
        for v in model.trainable_variables
    ]


def _reference(model, x, y, comparator):
    """Returns the Taylor loss of squared error by a double vector-product, written out here."""
    weights = [tf.identity(v.value) for v in model.trainable_variables]
    state = [tf.identity(v.value) for v in model.non_trainable_variables]
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(weights)
            outputs, _ = model.stateless_call(weights, state, x, training=True)
        upstream = tf.zeros_like(outputs)
        outer.watch(upstream)
        slopes = inner.gradient(outputs, weights, upstream)
        steps = [v - w for v, w in zip(comparator, weights, strict=True)]
        total = sum(tf.reduce_sum(a * b) for a, b in zip(slopes, steps, strict=True))
    moved = outputs + outer.gradient(total, upstream)
    return float(tf.reduce_mean((moved - y) ** 2))


def _assert_right(model, x, y):
    comparator = _near(model)
    found = float(kt.taylor_loss(model, x, y, comparator))
    assert found == pytest.approx(_reference(model, x, y, comparator), rel=1e-3)


def test_the_first_blocks_of_a_convnet():
    whole, x, y = _model("MobileNet", alpha=0.25)
    features = whole.get_layer("conv_pw_3_relu").output
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    model = keras.Model(whole.input, keras.layers.Dense(3, name="logits")(pooled))
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    _assert_right(model, x, y)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_families(name, tmp_path):
    model, x, y = _model(name)
    _assert_right(model, x, y)
    assert len(kt.record(model, [(x, y)], tmp_path / "run", steps=1, verbose=0)) == 1
    taylor = kt.TaylorModel.from_model(model)
    taylor.compile(keras.optimizers.SGD(1e-4), loss="mse")
    history = taylor.fit(x, y, batch_size=4, verbose=0).history
    assert history["taylor_regret"][0] == pytest.approx(0.0, abs=1e-3 * history["loss"][0])
