"""Tests of what a tracker tells of steps and gradients."""

import keras
import numpy as np
import pytest

import keras_taylor as kt

RegretTracker = kt.optimizers.RegretTracker


@pytest.fixture
def two_layers():
    """A function of two gradients, each of a layer, that trains a round; and the tracker."""
    tracker = RegretTracker(keras.optimizers.SGD(0.0))
    variables = [keras.Variable(np.ones(2), name=name) for name in ("a", "b")]
    tracker.build(variables)

    def train(*gradients, loss=1.0):
        tracker.scale_loss(loss)
        tracker.apply([np.array(g, "float32") for g in gradients], variables)

    return train, tracker


def test_gradient_norms_are_root_mean_squares_over_rounds(two_layers):
    train, tracker = two_layers
    train([3.0, 0.0], [0.0, 0.0])
    train([0.0, 4.0], [1.0, 1.0])
    assert float(tracker.gradient_norm()) == pytest.approx(np.sqrt((9 + 16 + 2) / 2))
    assert float(tracker.gradient_norm("layer:a")) == pytest.approx(np.sqrt(25 / 2))
    np.testing.assert_allclose(tracker.gradient_norm("units")["b"], np.sqrt([0.5, 0.5]))
    tracker.start_tracking()
    assert np.isnan(tracker.gradient_norm())


def test_the_first_round_left_out_and_its_layers_are_known(two_layers):
    train, tracker = two_layers
    assert tracker.first_skipped() is None
    train([1.0, 1.0], [1.0, 1.0])
    assert tracker.first_skipped() is None
    train([1.0, 1.0], [np.nan, 1.0])
    train([np.inf, 1.0], [1.0, 1.0])
    assert tracker.first_skipped() == {"round": 2, "layers": ["b"]}
    assert int(tracker.skipped_steps) == 2
    tracker.start_tracking()
    assert tracker.first_skipped() is None
    train([1.0, 1.0], [1.0, 1.0], loss=np.inf)
    assert tracker.first_skipped() == {"round": 1, "layers": []}


def test_the_first_round_left_out_is_asked_of_a_built_tracker():
    with pytest.raises(ValueError, match="is not built yet"):
        RegretTracker("sgd").first_skipped()
