"""Tests of gaps that are small enough, relative to the value or in units of the loss."""

import numpy as np
import objectives
import pytest

from keras_taylor.optimum.tolerance import Absolute, allowed_gap, checked_tolerance


def test_allowed_gaps():
    assert allowed_gap(0.1, -5.0) == pytest.approx(0.5)
    assert allowed_gap(0.5 * Absolute(0.1), 1e9) == pytest.approx(0.05)


@pytest.mark.parametrize("kind", [objectives.Squares, objectives.Logistic])
def test_a_solve_ends_at_an_absolute_gap_near_zero_loss(kind):
    """Where the value is nearly zero, a relative gap is never reached."""
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(40, 5))
    targets = matrix @ generator.normal(size=5)
    objective, center = kind(matrix, targets), np.zeros(5)
    (found,), budget = objectives.solved(objective, center, [50.0], Absolute(1e-3), most=200)
    assert found.gap <= 1e-3
    assert budget.has_left(1)
    (looser,), fewer = objectives.solved(objective, center, [50.0], Absolute(0.1), most=200)
    assert looser.gap <= 0.1
    assert fewer.taken <= budget.taken


def test_what_was_asked_for():
    assert checked_tolerance(0.01, None) == 0.01
    assert checked_tolerance(0.01, 0.5) == Absolute(0.5)
    for absolute in (0.0, -1.0, float("nan"), True):
        with pytest.raises(ValueError, match="absolute_tolerance must be a positive number"):
            checked_tolerance(0.01, absolute)
    with pytest.raises(ValueError, match="tolerance must be a positive number"):
        checked_tolerance(0.0, 1.0)
