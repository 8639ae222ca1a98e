"""Tests of random vectors whose covariance is the curvature; products are in test_losses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt
from keras_taylor.taylor.batch import batch_of
from keras_taylor.taylor.curvature import curvature_sample


def _model(outputs, activation, loss):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(5, "relu")(inputs)
    hidden = keras.layers.LayerNormalization()(hidden)
    model = keras.Model(inputs, keras.layers.Dense(outputs, activation)(hidden))
    model.compile(loss=loss)
    return model


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("loss", ["mse", "binary_crossentropy", "sparse_categorical_crossentropy"])
def test_samples_have_the_curvature_as_covariance(loss):
    """Squared error, and two classes, whose Hessian in the logits has one direction."""
    is_squared = loss == "mse"
    outputs = {"mse": 3, "binary_crossentropy": 1}.get(loss, 2)
    model = _model(outputs, {3: None, 1: "sigmoid", 2: "softmax"}[outputs], loss)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(6, 4))
    y = generator.normal(size=(6, 3)) if is_squared else generator.integers(0, 2, (6, 1))
    flat = lambda arrays: np.concatenate([np.ravel(a) for a in arrays])  # noqa: E731
    sizes = [int(np.prod(v.shape)) for v in model.trainable_variables]
    ends = np.cumsum(sizes)[:-1]
    weights = [v.numpy() for v in model.trainable_variables]

    traced = tf.function(lambda v: kt.taylor_curvature_product(model, x, y, weights, v))

    def product(direction):
        pieces = np.split(direction, ends)
        arrays = [p.reshape(w.shape) for p, w in zip(pieces, weights, strict=True)]
        return flat(traced(list(map(tf.constant, arrays))))

    curvature = np.stack([product(row) for row in np.eye(sum(sizes))])

    def sample(seed):
        tensors = curvature_sample(batch_of(model, x, y), seed)
        return tf.concat([tf.reshape(t, [-1]) for t in tensors], axis=0)

    sampled = tf.function(lambda seeds: tf.map_fn(sample, seeds, fn_output_signature=tf.float64))
    samples = sampled(tf.range(4000)).numpy()
    error = np.linalg.norm(samples.T @ samples / 4000 - curvature)
    assert error < 0.1 * np.linalg.norm(curvature)
