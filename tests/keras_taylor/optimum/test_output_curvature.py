"""Tests of the slope and curvature of losses in single outputs."""

import numpy as np
import tensorflow as tf

from keras_taylor.optimum.output_curvature import by_output

POINTS = tf.constant(np.random.default_rng(0).normal(size=(4, 3)))


def test_of_a_sum_of_squares_they_say_all():
    scales = tf.constant([[1.0, 2.0, 0.0]], "float64")
    slope, curvature, is_apart = by_output(lambda x: scales * (x - 1), POINTS)
    assert bool(is_apart)
    np.testing.assert_allclose(slope, scales * (POINTS - 1))
    np.testing.assert_allclose(curvature, np.broadcast_to(scales, (4, 3)), atol=1e-12)


def test_outputs_that_are_coupled_are_told_apart():
    """The slope of a squared sum over outputs."""
    coupled = by_output(lambda x: tf.reduce_sum(x, 1, keepdims=True) + 0 * x, POINTS)
    assert not bool(coupled[2])


def test_examples_may_be_coupled_by_a_mean():
    _, curvature, is_apart = by_output(lambda x: x / 4, POINTS)
    assert bool(is_apart)
    np.testing.assert_allclose(curvature, 0.25)
