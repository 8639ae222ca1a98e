"""Tests of the learning-rate range test."""

import numpy as np
import pytest

from experiments.runs import range_test

RATES = 10.0 ** np.linspace(-4, 0, 401)


def test_smoothing_keeps_a_constant_and_weighs_the_past():
    np.testing.assert_allclose(range_test.smoothed([2.0] * 5), 2.0)
    one, two = range_test.smoothed([1.0, 3.0])
    assert (one, two) == (pytest.approx(1.0), pytest.approx((0.98 * 0.02 + 0.02 * 3) / 0.0396))


def test_readings_of_a_valley():
    """The loss falls from 1e-3 to 1e-1 and explodes after."""
    places = np.log10(RATES)
    losses = 2 - np.clip((places + 3) / 2, 0, 1) + 100 * np.clip(places + 1, 0, None)
    found = range_test.read(RATES, losses)
    # Smoothing over some fifty rounds shifts readings by half a decade to the right.
    assert 1e-3 < found["steepest"] <= 0.15
    assert 0.1 / 10 <= found["minimum"] < 0.15 / 10


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_losses_that_are_not_finite_are_left_out(bad):
    losses = 2 - np.clip((np.log10(RATES) + 3) / 2, 0, 1)
    losses[-1] = bad
    found = range_test.read(RATES, losses)
    assert found == range_test.read(RATES[:-1], losses[:-1])


def test_it_runs_on_a_task(data_dir):
    found = range_test.run("digits_classifier", "sgd", 0, data_dir, rounds=60)
    assert set(found) == {"steepest", "minimum"}
    assert all(range_test.SMALLEST / 10 <= rate <= range_test.LARGEST for rate in found.values())
