"""Tests of what counts as the same architecture."""

import keras
import pytest
import tensorflow as tf
from keras import layers

import keras_taylor as kt
from keras_taylor.derivatives.architecture import architecture


def _model(units=4, activation="relu", final=None, seed=None, name=None, dtype=None):
    inputs = keras.Input((3,))
    initializer = keras.initializers.GlorotUniform(seed)
    options = {"kernel_initializer": initializer, "dtype": dtype, "name": name}
    x = layers.Dense(units, activation, **options)(inputs)
    return keras.Model(inputs, (final or layers.Dense(2))(x))


def test_names_and_initial_weights_do_not_count():
    same = {architecture(_model(seed=seed, name=f"hidden_{seed}")) for seed in (None, 1, 2)}
    assert len(same) == 1
    assert None not in same


@pytest.mark.parametrize(
    "options",
    [
        {"units": 5},
        {"activation": "tanh"},
        {"dtype": "float64"},
        {"final": layers.Dense(2, use_bias=False)},
        # A name that is that of a function is no function.
        {"activation": "tanh", "name": "tanh"},
    ],
    ids=str,
)
def test_what_a_layer_computes_counts(options):
    assert architecture(_model(**options)) != architecture(_model(name="relu"))


def test_what_is_frozen_counts():
    model = _model()
    before = architecture(model)
    model.layers[1].trainable = False
    assert architecture(model) != before


def test_how_layers_are_connected_counts():
    def build(swap):
        inputs = keras.Input((3,))
        first, second = layers.Dense(3, "relu")(inputs), layers.Dense(3, "tanh")(inputs)
        pair = [second, first] if swap else [first, second]
        return keras.Model(inputs, layers.Subtract()(pair))

    assert architecture(build(False)) == architecture(build(False))
    assert architecture(build(False)) != architecture(build(True))


def test_models_around_the_same_layers_are_the_same():
    model = _model()
    assert architecture(kt.TaylorModel.from_model(model)) == architecture(model)
    sequential = keras.Sequential([keras.Input((3,)), layers.Dense(4, "relu"), layers.Dense(2)])
    assert architecture(sequential) == architecture(model)


class Own(layers.Layer):
    def call(self, x):
        return 2 * x


class OwnCall(keras.Model):
    def call(self, x):
        return -super().call(x)


def _own_call():
    plain = _model()
    return OwnCall(plain.input, plain.output)


def _patched():
    model = _model()
    model.layers[-1].call = tf.identity
    return model


@pytest.mark.parametrize(
    "build",
    [
        lambda: _model(final=Own()),
        lambda: _model(activation=lambda x: tf.nn.relu(x)),
        lambda: _model(activation=tf.stop_gradient),
        lambda: _model(final=layers.Lambda(lambda x: -x)),
        _own_call,
        _patched,
    ],
)
def test_own_functions_are_not_known_by_their_configuration(build):
    assert architecture(build()) is None
