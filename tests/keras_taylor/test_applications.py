"""The convnets of keras.applications are expanded without a false alarm, to the right number."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt
from keras_taylor.weights.scopes import Scopes

# The smallest of each family, with the length of its images.
FAMILIES = {
    "VGG16": 64,
    "ResNet50": 64,
    "ResNet50V2": 64,
    "InceptionV3": 96,
    "InceptionResNetV2": 96,
    "Xception": 96,
    "MobileNet": 64,
    "MobileNetV2": 64,
    "MobileNetV3Small": 64,
    "DenseNet121": 64,
    "NASNetMobile": 64,
    "EfficientNetB0": 64,
    "EfficientNetV2B0": 64,
    "ConvNeXtTiny": 64,
}
# Steps of central differences: a long one crosses kinks, a short one is lost in rounding.
STEPS = np.geomspace(3e-7, 3e-8, 7)


def _model(name, length, **options):
    keras.utils.set_random_seed(0)
    options |= {"input_shape": (length, length, 3), "weights": None, "classes": 3}
    model = getattr(keras.applications, name)(classifier_activation=None, **options)
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    return model, *_data(length)


def _data(length):
    x = np.random.default_rng(0).uniform(0, 255, (4, length, length, 3)).astype("float32")
    return x, np.eye(3, dtype="float32")[[0, 1, 2, 0]]


def _near(model):
    generator = np.random.default_rng(1)
    return [v.numpy() + 1e-3 * generator.normal(size=v.shape) for v in model.trainable_variables]


def _reference(model, x, y):
    """Returns a function from a comparator to the Taylor loss, by central differences.

    Of squared error, the median over steps.
    """
    weights = [v.numpy() for v in model.trainable_variables]
    state = [v.numpy() for v in model.non_trainable_variables]

    @tf.function(autograph=False)
    def outputs(moved):
        return model.stateless_call(moved, state, x, training=True)[0]

    def taylor_loss(comparator):
        moves = [v - w for v, w in zip(comparator, weights, strict=True)]

        def at(share):
            return outputs([w + share * move for w, move in zip(weights, moves, strict=True)])

        here = at(0.0)
        slopes = ((at(step) - at(-step)) / (2 * step) for step in STEPS)
        return np.median([tf.reduce_mean((here + slope - y) ** 2) for slope in slopes])

    return taylor_loss


def _of_layer(model, comparator, key):
    """Returns a comparator that leaves all layers but one where they are."""
    keys = Scopes(model.trainable_variables).keys_of(model.trainable_variables)
    pairs = zip(model.trainable_variables, comparator, strict=True)
    return [v if keys[id(w)] == key else w.numpy() for w, v in pairs]


def _assert_right(model, x, y, at_once=False):
    """Compares the network, and its first, middle and last layers, one by one or all `at_once`.

    All the hundreds of a deep network at once are as many directions in one pass.
    """
    x, y = x.astype("float64"), y.astype("float64")
    comparator, reference = _near(model), _reference(model, x, y)
    found = kt.taylor_loss(model, x, y, comparator)
    np.testing.assert_allclose(found, reference(comparator), rtol=1e-6)
    layers = kt.taylor_loss(model, x, y, comparator, "layers") if at_once else {}
    keys = list(Scopes(model.trainable_variables).layers)
    for key in (keys[0], keys[len(keys) // 2], keys[-1]):
        part = f"layer:{key}"
        found = layers[key] if at_once else kt.taylor_loss(model, x, y, comparator, part)
        expected = reference(_of_layer(model, comparator, key))
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=key)


@pytest.mark.usefixtures("float64")
def test_the_first_blocks_of_a_convnet():
    whole, x, y = _model("MobileNet", 32, alpha=0.25)
    features = whole.get_layer("conv_pw_3_relu").output
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    model = keras.Model(whole.input, keras.layers.Dense(3, name="logits")(pooled))
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    _assert_right(model, x, y, at_once=True)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", FAMILIES)
def test_families_are_expanded_to_the_right_number(name):
    _assert_right(*_model(name, FAMILIES[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_families_are_recorded_and_fitted(name, tmp_path):
    model, x, y = _model(name, FAMILIES[name])
    assert len(kt.record(model, [(x, y)], tmp_path / "run", steps=1, verbose=0)) == 1
    taylor = kt.TaylorModel.from_model(model)
    taylor.compile(keras.optimizers.SGD(1e-4), loss="mse")
    history = taylor.fit(x, y, batch_size=4, verbose=0).history
    assert history["taylor_regret"][0] == pytest.approx(0.0, abs=1e-3 * history["loss"][0])
