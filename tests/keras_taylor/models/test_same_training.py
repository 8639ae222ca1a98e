"""Training under a TaylorModel is that of the plain model to the bit, for blocks of known networks.

A sum of sums is not here in a graph: TensorFlow's graph optimizer adds its terms in an order that
differs from one plain training to the next.
"""

import keras
import numpy as np
import pytest
from keras import layers

import keras_taylor as kt

pytestmark = pytest.mark.optimized_graphs

MODES = {
    "graph": {"jit_compile": False},
    "xla": {"jit_compile": True},
    "eager": {"run_eagerly": True},
}
COMPARATORS = {"one": "initial", "two": {"a": "initial", "b": "average"}}


def _image(x):
    return layers.Reshape((4, 4, 2))(layers.Dense(32)(x))


def _normalised(x, layer):
    return layers.BatchNormalization()(layer(x))


def normalisation_and_skip(x):
    return layers.Add()([layers.LayerNormalization()(x), x])


def operators(x):
    h = layers.Dense(4, "relu")(x)
    return (h + layers.LayerNormalization()(h)) * 0.5


def sums_of_sums(x):
    first = layers.Dense(4)(x)
    return layers.Add()([layers.Add()([first, layers.Dense(4, "relu")(first)]), x])


def distributed(x):
    h = layers.TimeDistributed(layers.Dense(3, "relu"))(layers.Reshape((2, 2))(x))
    return layers.Flatten()(h)


def resnet(x):
    x = _image(x)
    h = layers.ReLU()(_normalised(x, layers.Conv2D(4, 3, padding="same")))
    h = _normalised(h, layers.Conv2D(4, 3, padding="same"))
    h = layers.ReLU()(layers.Add()([_normalised(x, layers.Conv2D(4, 1)), h]))
    return layers.GlobalAveragePooling2D()(h)


def mobilenet(x):
    x = _image(x)
    h = layers.ReLU(6.0)(_normalised(x, layers.Conv2D(8, 1, use_bias=False)))
    h = layers.ReLU(6.0)(_normalised(h, layers.DepthwiseConv2D(3, padding="same")))
    h = layers.Add()([x, _normalised(h, layers.Conv2D(2, 1, use_bias=False))])
    return layers.GlobalAveragePooling2D()(h)


def transformer(x):
    x = layers.Dense(8)(layers.Reshape((4, 1))(x))
    h = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.Dropout(0.1)(layers.MultiHeadAttention(2, 4)(h, h))])
    h = layers.Dense(8)(layers.Dense(8, "gelu")(layers.LayerNormalization()(x)))
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization()(layers.Add()([x, h])))


def unet(x):
    down = layers.ReLU()(_normalised(_image(x), layers.SeparableConv2D(4, 3, padding="same")))
    up = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(layers.MaxPooling2D()(down))
    up = layers.Add()([layers.BatchNormalization()(up), down])
    return layers.Flatten()(layers.Conv2D(3, 3)(layers.Concatenate()([up, down])))


def _trained(build, mode, comparator=None):
    keras.utils.set_random_seed(7)
    x = np.random.default_rng(0).normal(size=(44, 4))
    y = np.random.default_rng(1).integers(0, 2, 44)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2, "softmax")(build(inputs)))
    model = model if comparator is None else kt.TaylorModel.from_model(model, comparator)
    model.compile(
        keras.optimizers.Adam(1e-2), loss="sparse_categorical_crossentropy", **MODES[mode]
    )
    model.fit(x, y, batch_size=16, epochs=10 if mode != "eager" else 1, shuffle=False, verbose=0)
    return [v.numpy() for v in model.variables]


def _assert_same(build, mode, comparator):
    plain, observed = _trained(build, mode), _trained(build, mode, comparator)
    for one, other in zip(plain, observed, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("build", [normalisation_and_skip, operators])
def test_a_pass_of_its_own_leaves_the_bits(build):
    _assert_same(build, "graph", COMPARATORS["two"])


def test_sums_of_sums_up_to_rounding():
    plain, observed = (_trained(sums_of_sums, "graph", c) for c in (None, "initial"))
    for one, other in zip(plain, observed, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("comparator", COMPARATORS.values(), ids=COMPARATORS)
@pytest.mark.parametrize(
    "build",
    [normalisation_and_skip, operators, distributed, resnet, mobilenet, transformer, unet],
)
def test_blocks_of_known_networks(build, comparator, mode):
    _assert_same(build, mode, comparator)
