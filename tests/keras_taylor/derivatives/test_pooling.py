"""Tests of what max-pooling does to a tangent, against its gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_taylor.derivatives import pooling


@pytest.mark.parametrize("size", [(2, 2), (3, 2), (1, 3)])
@pytest.mark.parametrize("lengths", [(6, 6), (7, 8)])
@pytest.mark.parametrize("has_ties", [False, True])
def test_selects_where_the_gradient_goes(size, lengths, has_ties):
    generator = np.random.default_rng(0)
    shape = (2, *lengths, 3)
    x = generator.integers(0, 2, shape) if has_ties else generator.normal(size=shape)
    x = tf.constant(x, tf.float32)
    values = tf.constant(generator.normal(size=shape), tf.float32)
    layer = keras.layers.MaxPooling2D(size)
    with tf.GradientTape() as tape:
        tape.watch(x)
        pooled = layer(x)
    upstream = tf.constant(generator.normal(size=pooled.shape), tf.float32)
    adjoint = np.vdot(tape.gradient(pooled, x, upstream), values)
    assert pooling.is_tiling(layer, *lengths, 3)
    np.testing.assert_allclose(np.vdot(pooling.select(x, values, layer), upstream), adjoint, 1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.MaxPooling2D(3, strides=2),
        keras.layers.MaxPooling2D(2, data_format="channels_first"),
        keras.layers.AveragePooling2D(2),
        keras.layers.MaxPooling2D(4, padding="same"),
    ],
)
def test_other_pooling_is_left_to_tensorflow(layer):
    assert not pooling.is_tiling(layer, 6, 6, 3)
