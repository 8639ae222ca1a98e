"""Tests of the inputs that a model is checked on."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_taylor.derivatives.probes import EXAMPLES, probes, signature


def _model(**options):
    inputs = keras.Input(**options)
    return keras.Model(inputs, layers.Dense(1)(inputs))


def test_a_batch_gives_its_first_examples():
    x = tf.reshape(tf.range(12.0), (6, 2))
    (found,) = probes(_model(shape=(2,)), x)
    np.testing.assert_array_equal(found, x[:EXAMPLES])


def test_a_fixed_batch_is_taken_whole():
    x = tf.ones((6, 2))
    (found,) = probes(_model(batch_shape=(6, 2)), x)
    assert found.shape == (6, 2)


def test_only_floats_are_made_up():
    model, found = _model(shape=(2,)), {}

    @tf.function
    def traced(x, ids):
        with tf.init_scope():
            found["floats"] = probes(model, x)
        found["ids"] = probes(model, {"x": x, "ids": ids})
        found["shape"] = signature(model, {"x": x, "missing": None})
        return x

    traced.get_concrete_function(tf.TensorSpec((None, None)), tf.TensorSpec((None,), tf.string))
    assert len(found["floats"]) == 2
    assert (found["floats"][1].numpy() > 0).all()
    assert found["ids"] == []
    assert found["shape"]["x"].shape == (EXAMPLES, 32)
    assert found["shape"]["missing"] is None
