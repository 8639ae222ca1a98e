"""Tests of the losses of the tasks."""

import keras
import numpy as np

from experiments.tasks.losses import SummedSquaredError


def test_is_the_mean_over_examples_of_the_sum_over_outputs():
    random = np.random.default_rng(0)
    target, output = random.normal(size=(2, 7, 5)).astype("float32")
    expected = ((target - output) ** 2).sum(axis=1).mean()
    np.testing.assert_allclose(SummedSquaredError()(target, output), expected, rtol=1e-6)


def test_is_a_multiple_of_the_mean_squared_error():
    random = np.random.default_rng(1)
    target, output = random.normal(size=(2, 4, 9)).astype("float32")
    mean = keras.losses.MeanSquaredError()(target, output)
    np.testing.assert_allclose(SummedSquaredError()(target, output), 9 * mean, rtol=1e-6)


def test_is_serializable():
    loss = keras.losses.deserialize(keras.losses.serialize(SummedSquaredError()))
    assert isinstance(loss, SummedSquaredError)
