"""Tests of reading the kinks of a model: against brute force on pre-activations."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_taylor.exploration import rectifiers


def _planes(model, x, name):
    return {r.name: [np.asarray(p) for p in r.planes] for r in rectifiers.read(model, x)}[name]


def _before(model, layer, x):
    """Returns the pre-activation of a fused layer, by the layer without its activation."""
    activation, layer.activation = layer.activation, keras.activations.linear
    try:
        return np.asarray(keras.Model(model.inputs, layer.output)(x), "float64")
    finally:
        layer.activation = activation


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("activation", ["relu", "relu6", "leaky_relu"])
@pytest.mark.parametrize(
    "make",
    [
        lambda **options: layers.Dense(8, **options),
        lambda **options: layers.Conv2D(5, 3, **options),
        lambda **options: layers.DepthwiseConv2D(2, depth_multiplier=3, **options),
        lambda **options: layers.Conv2DTranspose(3, 2, **options),
        lambda **options: layers.SeparableConv2D(3, 2, **options),
    ],
    ids=["dense", "conv", "depthwise", "transposed", "separable"],
)
def test_fused_activations_match_preactivations(make, activation, policy):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6, 6, 2))
    layer = make(
        activation=activation,
        name="fused",
        dtype=policy,
        bias_initializer=keras.initializers.RandomNormal(),
    )
    model = keras.Model(inputs, layer(inputs))
    x = 6 * np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype("float32")
    before = _before(model, layer, x)
    planes = _planes(model, x, "fused")
    np.testing.assert_array_equal(planes[0], before > 0)
    assert len(planes) == (2 if activation == "relu6" else 1)
    if activation == "relu6":
        np.testing.assert_array_equal(planes[1], before >= 6)
        assert planes[1].any()


@pytest.mark.parametrize(
    ("layer", "kinks"),
    [
        (layers.ReLU(), [0]),
        (layers.ReLU(max_value=1.0), [0, 1]),
        (layers.ReLU(threshold=0.5, negative_slope=0.1), [0.5]),
        (layers.LeakyReLU(), [0]),
        (layers.PReLU(), [0]),
        (layers.Activation("relu"), [0]),
        (layers.Activation("relu6"), [0, 6]),
        (layers.Dense(3, kernel_initializer="identity", activation=layers.LeakyReLU()), [0]),
    ],
)
def test_each_rectifier(layer, kinks):
    model = keras.Sequential([keras.Input((3,)), layer])
    x = np.array([[-2.0, 0.2, 0.7], [1.5, 7.0, -0.1]], "float32")
    planes = _planes(model, x, layer.name)
    assert len(planes) == len(kinks)
    for plane, kink in zip(planes, kinks, strict=True):
        np.testing.assert_array_equal(plane, x > kink)


def _brute_force_winners(x, window, strides, padding):
    """Numbers of the winners of one-dimensional windows, for `(examples, places, channels)`."""
    places = x.shape[1]
    if padding == "same":
        count = -(-places // strides)
        total = max((count - 1) * strides + window - places, 0)
        low = np.full((len(x), total, x.shape[2]), -np.inf)
        x = np.concatenate([low[:, : total // 2], x, low[:, total // 2 :]], axis=1)
    starts = range(0, x.shape[1] - window + 1, strides)
    return np.stack([x[:, s : s + window].argmax(axis=1) for s in starts], axis=1)


def _number(planes):
    return sum(plane.astype(int) << digit for digit, plane in enumerate(planes))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("window", "strides"), [(2, 2), (3, 2), (3, 1), (4, 3)])
def test_winners_of_windows(window, strides, padding):
    x = np.random.default_rng(0).normal(size=(3, 11, 2)).astype("float32") - 3.0
    layer = layers.MaxPooling1D(window, strides, padding)
    found = _number(_planes(keras.Sequential([keras.Input((11, 2)), layer]), x, layer.name))
    np.testing.assert_array_equal(found, _brute_force_winners(x, window, strides, padding))


def test_winners_in_the_plane():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype("float32")
    layer = layers.MaxPooling2D((2, 3))
    planes = _planes(keras.Sequential([keras.Input((4, 6, 3)), layer]), x, layer.name)
    assert len(planes) == 3
    windows = x.reshape(2, 2, 2, 2, 3, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 2, 2, 6, 3)
    np.testing.assert_array_equal(_number(planes), windows.argmax(axis=3))


def test_winners_of_whole_images():
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("float32")
    layer = layers.GlobalMaxPooling2D()
    planes = _planes(keras.Sequential([keras.Input((4, 5, 3)), layer]), x, layer.name)
    np.testing.assert_array_equal(_number(planes), x.reshape(2, 20, 3).argmax(axis=1))


def test_shared_and_nested_layers_are_read_at_each_call():
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, "relu", name="deep")], name="inner"
    )
    shared = layers.Dense(4, "relu", name="shared")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, shared(inner(shared(inputs))))
    names = [reading.name for reading in rectifiers.read(model, np.ones((2, 4)))]
    assert names == ["shared", "deep", "shared:1"]


def test_layers_made_of_layers_are_read():
    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3, "relu", name="within")

        def call(self, x):
            return self.dense(x)

    model = keras.Sequential([keras.Input((2,)), Block()])
    assert [r.name for r in rectifiers.read(model, np.ones((1, 2)))] == ["within"]


def test_subclassed_models_are_read_and_recurrent_layers_passed_over():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.recurrent = layers.SimpleRNN(3, activation="relu")
            self.dense = layers.Dense(2, "relu", name="own")

        def call(self, x):
            return self.dense(self.recurrent(x))

    assert [r.name for r in rectifiers.read(Own(), np.ones((1, 4, 2), "float32"))] == ["own"]


def test_a_model_without_rectifiers_is_refused():
    class Hidden(keras.Model):
        def call(self, x):
            return keras.ops.relu(x)

    for model in (keras.Sequential([keras.Input((2,)), layers.Dense(2, "tanh")]), Hidden()):
        with pytest.raises(ValueError, match="no rectifier was found.*make them layers"):
            rectifiers.read(model, np.ones((1, 2), "float32"))


GATES = ["celu", "elu", "gelu", "hard_silu", "mish", "selu", "silu"]


@pytest.mark.parametrize("activation", GATES)
def test_smooth_activations_are_read_by_their_sign_if_asked_to(activation):
    inputs = keras.Input((6,))
    layer = layers.Dense(8, activation, name="smooth", bias_initializer="normal")
    model = keras.Model(inputs, layer(inputs))
    x = 3 * np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
    (reading,) = rectifiers.read(model, x, smooth=True)
    assert reading.kind == "smooth"
    np.testing.assert_array_equal(reading.planes[0], _before(model, layer, x) > 0)
    with pytest.raises(ValueError, match="'smooth' are smooth and have no kinks.*smooth=True"):
        rectifiers.read(model, x)


@pytest.mark.parametrize("layer", [layers.ELU(), layers.Activation("gelu")])
def test_layers_of_smooth_activations(layer):
    model = keras.Sequential([keras.Input((2,)), layer, layers.ReLU(), layers.Dense(1, "tanh")])
    kinds = [r.kind for r in rectifiers.read(model, np.ones((1, 2)), smooth=True)]
    assert kinds == ["smooth", "rectifier"]
    assert [r.kind for r in rectifiers.read(model, np.ones((1, 2)))] == ["rectifier"]


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (layers.ReLU(), "rectifier"),
        (layers.ReLU(negative_slope=0.1), "leaky"),
        (layers.LeakyReLU(), "leaky"),
        (layers.PReLU(), "leaky"),
        (layers.Dense(3, activation="relu6"), "rectifier"),
        (layers.Dense(3, activation="leaky_relu"), "leaky"),
        (layers.Dense(3, activation=layers.ReLU(negative_slope=0.1)), "leaky"),
    ],
)
def test_a_rectifier_that_learns_below_zero_is_leaky(layer, kind):
    model = keras.Sequential([keras.Input((3,)), layer])
    (reading,) = rectifiers.read(model, np.ones((2, 3)))
    assert reading.kind == kind
