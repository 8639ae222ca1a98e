"""Tests of sums over rounds in a graph."""

import numpy as np
import pytest
import tensorflow as tf

from keras_taylor.optimum.loop import over_rounds

VALUES = np.random.default_rng(0).normal(size=(7, 3))


def _add(sums, number, value):
    total, weighted = sums
    return total + value, weighted + tf.cast(number, "float64") * value


@pytest.fixture(scope="module")
def summed():
    """Sums of rows, and of rows times their numbers, over a dataset that is read in each call."""
    dataset = tf.data.Dataset.from_tensor_slices(VALUES).cache()
    list(dataset)
    start = tf.zeros(3, "float64"), tf.zeros(3, "float64")
    return tf.function(
        lambda begin, end: over_rounds(dataset, end, start, _add, begin), autograph=False
    )


@pytest.mark.parametrize(("begin", "end"), [(0, 7), (0, 1), (2, 5), (3, 3)])
def test_sums_are_those_of_numpy(summed, begin, end):
    total, weighted = summed(tf.constant(begin, "int64"), tf.constant(end, "int64"))
    numbers = np.arange(begin, end)[:, None]
    np.testing.assert_allclose(total, VALUES[begin:end].sum(axis=0))
    np.testing.assert_allclose(weighted, (numbers * VALUES[begin:end]).sum(axis=0))


def test_other_rounds_are_no_other_graph(summed):
    for end in (2, 4):
        summed(tf.constant(0, "int64"), tf.constant(end, "int64"))
    assert summed.experimental_get_tracing_count() == 1


def test_an_error_in_reading_is_raised():
    three, assert_less = tf.constant(3, "int64"), tf.debugging.assert_less

    def checked(value):
        with tf.control_dependencies([assert_less(value, three, "not the round")]):
            return tf.identity(value)

    dataset = tf.data.Dataset.range(5).map(checked)
    start = (tf.zeros((), "int64"),)
    summed = tf.function(
        lambda: over_rounds(dataset, 5, start, lambda sums, _, value: (sums[0] + value,))
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="not the round"):
        summed()
