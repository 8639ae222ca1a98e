"""Tests of the gradient agreement."""

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.tracking.gradient_agreement import gradient_agreement


def test_equal_gradients_and_gradients_that_undo_each_other():
    assert float(gradient_agreement(np.array(16 * 3.0), np.array(16 * 9.0))) == pytest.approx(4)
    assert float(gradient_agreement(np.array(0.0), np.array(9.0))) == 0
    assert np.isnan(gradient_agreement(np.array(0.0), np.array(0.0)))


@pytest.mark.parametrize("graph", [False, True])
def test_a_tracker_reads_it_for_every_part(graph):
    gradients = np.random.default_rng(0).normal(size=(7, 2, 3))
    tracker = kt.optimizers.RegretTracker(keras.optimizers.Adam(0.1))
    weight = keras.Variable(np.zeros((2, 3)), name="w", dtype="float64")
    tracker.build([weight])

    def step(gradient):
        tracker.apply([gradient], [weight])

    if graph:
        import tensorflow as tf

        step = tf.function(step)
    for gradient in gradients:
        step(keras.ops.convert_to_tensor(gradient))
    total, squares = gradients.sum(0), (gradients**2).sum(0)
    network = np.linalg.norm(total) / np.sqrt(squares.sum())
    units = np.linalg.norm(total, axis=0) / np.sqrt(squares.sum(0))
    np.testing.assert_allclose(tracker.gradient_agreement(), network, rtol=1e-12)
    np.testing.assert_allclose(tracker.gradient_agreement("layer:w"), network, rtol=1e-12)
    np.testing.assert_allclose(tracker.gradient_agreement("units")["w"], units, rtol=1e-12)


def test_it_is_linear_regret_less_that_of_the_start_over_the_guarantee():
    """`linear regret = <g, W - W^1> + R ||sum g||`, whatever R is."""
    tracker = kt.optimizers.RegretTracker(keras.optimizers.SGD(0.1), radius=3.0)
    weight = keras.Variable(np.ones(4), name="w", dtype="float64")
    for gradient in np.random.default_rng(1).normal(size=(5, 4)):
        tracker.apply([gradient], [weight])
    start = tracker.linear_regret(comparator=[np.ones(4)]) / tracker.guarantee()
    expected = float(tracker.relative_regret() - start)
    assert float(tracker.gradient_agreement()) == pytest.approx(expected, rel=1e-12)
