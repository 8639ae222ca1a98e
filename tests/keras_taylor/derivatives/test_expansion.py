"""Tests of the three ways to a Jacobian-vector product, against each other and the gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_taylor.derivatives import expansion
from keras_taylor.derivatives import method as checking


def _model(build, shape=(6,)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, build(inputs))


def _shared(x):
    layer = layers.Dense(6, "tanh")
    return layers.Dense(2)(layer(layer(x)))


def _nested(x):
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(4, "relu"), layers.Dense(3)])
    return layers.Dense(2, "sigmoid")(inner(x))


def _normalized(x):
    return layers.Dense(2)(layers.BatchNormalization()(layers.Dense(4, "gelu")(x)))


def _merged(x):
    a, b = layers.Dense(3, "relu")(x), layers.Dense(3)(x)
    return layers.Dense(2)(layers.Concatenate()([a, layers.Multiply()([a, b])]))


NETWORKS = {f.__name__: f for f in (_shared, _nested, _normalized, _merged)}


def _prepared(build):
    model = _model(build)
    x = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(5, 6)).astype("float32"))
    weights = [ops.convert_to_tensor(v.value) for v in model.trainable_variables]
    run = checking.stateless_forward(model, weights, x, True)
    return model, x, weights, lambda: (run(), None)


def _inner(one, other):
    return sum(np.vdot(a, b) for a, b in zip(one, other, strict=True))


def _random_like(tensors, seed):
    generator = np.random.default_rng(seed)
    return [tf.cast(generator.normal(size=tuple(t.shape)), t.dtype) for t in tensors]


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_all_methods_agree(build):
    model, x, weights, forward = _prepared(build)
    tangents = _random_like(weights, 1)
    alone = [[t if i == j else None for j, t in enumerate(tangents)] for i in range(len(tangents))]
    found = {
        method: expansion.expand(method, model, forward, [tangents, *alone], weights, x)[1]
        for method in expansion.METHODS
    }
    for number in range(len(alone) + 1):
        for method in ("layerwise", "reverse"):
            np.testing.assert_allclose(
                found[method][number][0], found["whole"][number][0], rtol=1e-4, atol=1e-5
            )
    np.testing.assert_allclose(
        found["layerwise"][0][0], sum(f[0] for f in found["layerwise"][1:]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("method", expansion.METHODS)
def test_a_tape_that_is_paused_keeps_the_outputs_alone(method):
    """The first direction may run with the outputs, all others are not recorded."""
    model, x, weights, forward = _prepared(_normalized)
    directions = [_random_like(weights, seed) for seed in (1, 2)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(weights)
        (output,), tangents, _ = expansion.expand(
            method, model, forward, directions, weights, x, tape.stop_recording
        )
    assert tape.gradient(tangents[1][0], weights) == [None] * len(weights)
    with tf.GradientTape() as plain:
        plain.watch(weights)
        (expected,), _ = forward()
    for one, other in zip(
        tape.gradient(output, weights), plain.gradient(expected, weights), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    _, again, _ = expansion.expand(method, model, forward, directions, weights, x)
    for one, other in zip(tangents, again, strict=True):
        np.testing.assert_allclose(one[0], other[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_products_are_adjoint(build):
    model, x, weights, forward = _prepared(build)
    tangents = _random_like(weights, 1)
    outputs, ((tangent,),), _ = expansion.expand(
        "layerwise", model, forward, [tangents], weights, x
    )
    _, pull, _ = expansion.pullback(forward, weights)
    upstream = _random_like(outputs, 2)
    np.testing.assert_allclose(
        np.vdot(upstream[0], tangent), _inner(pull(upstream), tangents), rtol=1e-4
    )


def test_moving_averages_move_once():
    model, x, _, _ = _prepared(_normalized)
    expected = keras.models.clone_model(model)
    expected.set_weights(model.get_weights())
    expected(x, training=True)
    directions = [[v.value for v in model.trainable_variables]] * 3

    def run():
        return [model(x, training=True)], None

    expansion.expand("layerwise", model, run, directions, None, x)
    for one, other in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_call_options_fit_the_model():
    class Own(keras.Model):
        def call(self, x):
            return x

    assert expansion.call_options(Own(), True) == {}
    assert expansion.call_options(_model(_nested), False) == {"training": False}
