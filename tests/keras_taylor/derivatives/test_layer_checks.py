"""Tests of the check of single layers: what is no derivative is found, and nothing else."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_taylor.derivatives.layer_checks import incomplete_layers, is_adjoint, untrue_layers


@tf.custom_gradient
def _straight_through(x):
    return tf.sign(x), lambda upstream: upstream


@tf.custom_gradient
def _doubled(x):
    return x, lambda upstream: 2.0 * upstream


class _Own(keras.Model):
    def __init__(self, function):
        super().__init__()
        self.dense, self.function = layers.Dense(6), function

    def call(self, x):
        return self.function(self.dense(x))


def _model(function):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    h = function(layers.Dense(6)(inputs))
    return keras.Model(inputs, layers.Dense(2)(h))


def _x():
    return tf.constant(np.random.default_rng(0).normal(size=(4, 6)), "float32")


UNTRUE = {
    "sign": _straight_through,
    "doubled": _doubled,
    "stopped": tf.stop_gradient,
    "rounded": lambda x: x + tf.stop_gradient(tf.round(4 * x) / 4 - x),
}
TRUE = {
    "kinks": lambda x: tf.nn.relu(10 * tf.math.abs(x) - 5),
    "steps": tf.round,
    "dead": lambda x: tf.nn.relu(x - 1e3),
    "curved": lambda x: tf.sin(50 * x),
    "large": lambda x: 1e6 + x,
    "random": lambda x: x * keras.random.uniform((6,), seed=keras.random.SeedGenerator(1)),
}


@pytest.mark.parametrize("function", UNTRUE.values(), ids=UNTRUE)
def test_gradients_that_are_no_derivatives(function):
    lambda_layer = layers.Lambda(function, output_shape=(6,), name="own")
    assert untrue_layers(_model(lambda_layer), _x(), True) == ["own"]
    model = _Own(function)
    model(_x())
    assert untrue_layers(model, _x(), True) == [model.name]
    activated = layers.Dense(6, activation=function, name="dense_own")
    assert untrue_layers(_model(activated), _x(), True) == ["dense_own"]


@pytest.mark.parametrize("function", TRUE.values(), ids=TRUE)
def test_kinks_curvature_and_rounding_are_no_fault(function):
    assert untrue_layers(_model(layers.Lambda(function, output_shape=(6,))), _x(), True) == []


def test_operations_between_layers_are_asked():
    assert untrue_layers(_model(lambda h: ops.relu(h) + h), _x(), True) == []
    (name,) = untrue_layers(_model(lambda h: ops.stop_gradient(h)), _x(), True)
    assert "stop_gradient" in name


def test_layers_before_the_first_weights_may_be_anything():
    inputs = keras.Input((6,))
    h = layers.Lambda(_straight_through, output_shape=(6,))(inputs)
    assert untrue_layers(keras.Model(inputs, layers.Dense(2)(h)), _x(), True) == []


def test_incomplete_layers_are_named():
    inputs = keras.Input((4, 4, 1))
    h = layers.UpSampling2D(interpolation="bilinear")(inputs)
    h = layers.Conv2D(2, 1)(h)
    h = layers.UpSampling2D(interpolation="bilinear", name="wrong")(h)
    model = keras.Model(inputs, layers.BatchNormalization()(h))
    assert incomplete_layers(model, tf.ones((2, 4, 4, 1)), True) == ["wrong"]


def test_adjoint_identity():
    products, gradients = [np.array([3.0, 4.0])], [np.array([2.0]), np.array([5.0])]
    tangents, upstream = [np.array([1.0]), np.array([1.0])], [np.array([1.0, 1.0])]
    assert is_adjoint(upstream, products, gradients, tangents, 1e-9)
    assert not is_adjoint(upstream, products, gradients[:1] * 2, tangents, 1e-2)
