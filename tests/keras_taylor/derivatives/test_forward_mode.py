"""Tests of the trace of tangents through layers; its products are tested in test_expansion."""

import keras
import pytest
from keras import layers, ops

from keras_taylor.derivatives import expansion
from keras_taylor.derivatives.forward_mode import Trace, UnknownTensorError, hooked, leaf_layers


def _model(build):
    inputs = keras.Input((6,))
    return keras.Model(inputs, build(inputs))


def _nested(x):
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(4, "relu"), layers.Dense(3)])
    return layers.Dense(2, "sigmoid")(inner(x))


def test_layers_are_as_they_were_after_a_trace():
    model, x = _model(_nested), ops.ones((2, 6))
    weights = [ops.convert_to_tensor(v.value) for v in model.trainable_variables]
    activations = [getattr(layer, "activation", None) for layer in leaf_layers(model)]
    expansion.expand("layerwise", model, lambda: ([model(x)], None), [weights], None, x)
    for layer, activation in zip(leaf_layers(model), activations, strict=True):
        assert "call" not in vars(layer)
        assert getattr(layer, "activation", None) is activation


def test_tensors_of_no_layer_are_not_known():
    model = _model(lambda x: layers.Dense(2)(layers.Dense(3)(x) * 2.0))
    x = ops.ones((2, 6))
    trace = Trace(model, model.trainable_variables, [[v.value for v in model.trainable_variables]])
    with pytest.raises(UnknownTensorError), trace.recording():
        model(x)


def test_shared_layer_is_one_leaf():
    def shared(x):
        layer = layers.Dense(6, "tanh")
        return layers.Dense(2)(layer(layer(x)))

    assert len(leaf_layers(_model(shared))) == 3


def test_hooks_are_taken_off_where_a_call_raises():
    model = _model(layers.Dense(2))
    layer = model.layers[-1]

    def failing(*args):
        raise RuntimeError("in the hook")

    with pytest.raises(RuntimeError), hooked([layer], lambda *_: failing):
        model(ops.ones((1, 6)))
    assert "call" not in vars(layer)
    assert model(ops.ones((1, 6))).shape == (1, 2)
