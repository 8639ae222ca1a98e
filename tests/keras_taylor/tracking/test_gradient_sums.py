"""Tests of sums of gradients, against sums of whole numbers and of float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_taylor.tracking import gradient_sums
from keras_taylor.tracking.gradient_sums import RECENT_ROUNDS, GradientSums, sum_and_error


@pytest.fixture(autouse=True)
def _of_any_size(monkeypatch):
    monkeypatch.setattr(gradient_sums, "LARGE", 1)


def _variable(shape, name, dtype):
    return keras.Variable(np.zeros(shape), dtype=dtype, name=name)


def _function(function, way):
    if way == "eager":
        return function
    return tf.function(function, jit_compile=way == "xla")


@pytest.mark.parametrize("way", ["eager", "graph", "xla"])
def test_a_sum_and_its_error_are_exact_together(way):
    """Of float32 numbers of any size and sign, in float64, where the sum of both is exact."""
    generator = np.random.default_rng(0)
    one, other = (
        generator.normal(size=1000) * 2.0 ** generator.integers(-12, 12, 1000) for _ in range(2)
    )
    one, other = one.astype("float32"), other.astype("float32")
    total, error = _function(sum_and_error, way)(tf.constant(one), tf.constant(other))
    np.testing.assert_array_equal(total, one + other)
    exact = one.astype("float64") + other.astype("float64")
    np.testing.assert_array_equal(np.float64(total) + np.float64(error), exact)
    assert np.any(error)


@pytest.mark.optimized_graphs
@pytest.mark.parametrize("way", ["graph", "xla"])
def test_many_rounds_lose_no_more_than_a_few(way):
    """Gradients that nearly cancel beside some that do not, over more rounds than float32 counts.

    Whole numbers near 2^12 are summed exactly in float32 a few at a time; a float32 sum of all
    would stand at 2^24, where adding 1 does nothing.
    """
    steps = 20_000 * RECENT_ROUNDS + 5
    sums = GradientSums(_variable, [(2,)], "float32")

    def run(steps):
        for step in tf.range(steps):
            drift = tf.where(step % 2 == 0, 4001.0, -4000.0)
            sums.add([tf.stack([4097.0, drift])], step + 1)

    _function(run, way)(tf.constant(steps))
    (found,) = sums.values()
    assert found.dtype == "float64"
    exact = [4097 * steps, 4001 * ((steps + 1) // 2) - 4000 * (steps // 2)]
    np.testing.assert_allclose(found, exact, rtol=2.0**-23)


@pytest.mark.parametrize("rounds", [1, RECENT_ROUNDS - 1, RECENT_ROUNDS, 2 * RECENT_ROUNDS + 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_are_right_at_any_round(rounds, dtype):
    sums = GradientSums(_variable, [(3, 2), (2,)], dtype)
    generator = np.random.default_rng(0)
    gradients = [
        [generator.normal(size=s).astype("float32") for s in ((3, 2), (2,))] for _ in range(rounds)
    ]
    for number, arrays in enumerate(gradients, start=1):
        sums.add([tf.constant(array) for array in arrays], number)
    for found, arrays in zip(sums.values(), zip(*gradients, strict=True), strict=True):
        exact = np.sum(np.float64(arrays), 0)
        np.testing.assert_allclose(found, exact, rtol=1e-15 if dtype == "float64" else 1e-5)


def test_zeros_start_the_sums_again():
    sums = GradientSums(_variable, [(1,)], "float32")
    for step in range(RECENT_ROUNDS + 3):
        sums.add([tf.constant([1.0])], step + 1)
    for variable in sums.variables():
        variable.assign(np.zeros(variable.shape))
    assert float(sums.values()[0][0]) == 0.0
    sums.add([tf.constant([2.0])], 1)
    assert float(sums.values()[0][0]) == 2.0


def test_small_tensors_have_float64_sums(monkeypatch):
    monkeypatch.setattr(gradient_sums, "LARGE", 6)
    sums = GradientSums(_variable, [(3, 2), (5,), (2, 3)], "float32")
    dtypes = [(variable.shape, variable.dtype) for variable in sums.variables()]
    large, small = ((3, 2), "float32"), ((5,), "float64")
    assert dtypes == [large, small, ((2, 3), "float32"), large, ((2, 3), "float32")]
    for number in range(RECENT_ROUNDS + 2):
        sums.add([tf.fill(shape, 0.5) for shape in ((3, 2), (5,), (2, 3))], number + 1)
    for found in sums.values():
        np.testing.assert_array_equal(found, np.full(found.shape, 0.5 * (RECENT_ROUNDS + 2)))
