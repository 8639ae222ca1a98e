"""Tests of affine layers: linear in kernel and input, and what their activations do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_taylor.derivatives import affine

LAYERS = [
    (layers.Dense(4), (5, 3)),
    (layers.Dense(4), (5, 2, 3)),
    (layers.Conv1D(4, 2, strides=2), (5, 6, 3)),
    (layers.Conv2D(4, 3, padding="same"), (5, 6, 6, 3)),
    (layers.Conv2D(4, 3, dilation_rate=2, use_bias=False), (5, 8, 8, 3)),
    (layers.Conv2D(4, 3, groups=2), (5, 6, 6, 2)),
    (layers.Conv3D(2, 2), (2, 4, 4, 4, 3)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: str(value)[:20])
def test_tangent_is_the_difference_of_outputs_without_the_second_order(layer, shape):
    generator = np.random.default_rng(0)
    x, dx = (tf.constant(generator.normal(size=shape), tf.float32) for _ in range(2))
    z = layer(x)
    steps = [tf.constant(generator.normal(size=v.shape), tf.float32) for v in layer.weights]
    kernel, bias = steps[0], steps[1] if layer.use_bias else None
    found = affine.tangent(layer, x, dx, kernel, bias)
    with tf.autodiff.ForwardAccumulator(
        [x, *(v.value for v in layer.weights)], [dx, *steps]
    ) as accumulator:
        expected = accumulator.jvp(layer(x))
    assert affine.is_affine(layer)
    assert found.shape == z.shape
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_nothing_moves_and_only_the_bias_moves():
    layer = layers.Dense(2)
    x = tf.ones((3, 4))
    layer(x)
    assert affine.tangent(layer, x) is None
    np.testing.assert_array_equal(
        affine.tangent(layer, x, bias_tangent=tf.constant([1.0, 2.0])), [[1, 2]] * 3
    )


@pytest.mark.parametrize("name", [None, "linear", "relu", "tanh", "gelu", "softmax", "sigmoid"])
def test_activation_tangents(name):
    layer = layers.Dense(3, name)
    x = tf.constant(np.random.default_rng(0).normal(size=(4, 3)), tf.float32)
    layer.build((4, 3))
    activation = layer.activation
    output, before = affine.call_capturing(layer, lambda: layer.call(x))
    assert layer.activation is activation
    step = tf.ones_like(before)
    with tf.autodiff.ForwardAccumulator(before, step) as accumulator:
        expected = accumulator.jvp(keras.activations.get(name)(before))
    found = affine.activation_tangent(activation, before, output, step)
    np.testing.assert_allclose(found, step if expected is None else expected, rtol=1e-5, atol=1e-6)


def test_what_keras_changed_is_not_affine():
    class Own(layers.Dense):
        pass

    adapted = layers.Dense(2)
    adapted.build((None, 3))
    adapted.enable_lora(1)
    assert not affine.is_affine(adapted)
    assert not affine.is_affine(Own(2))
    assert not affine.is_affine(layers.Conv2D(2, 3, data_format="channels_first"))
    assert not affine.is_affine(layers.DepthwiseConv2D(3))
