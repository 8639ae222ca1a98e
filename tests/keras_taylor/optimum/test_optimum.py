"""Tests of what a solve found: its ends, regret and intervals."""

import math

import pytest
from scipy import stats

from keras_taylor.optimum.optimum import CONVERGED, Optimum


def _optimum(**changes):
    known = {
        "part": "network",
        "value": 0.5,
        "lower_bound": 0.25,
        "radius": 1.0,
        "comparator": [],
        "passes": 3,
        "converged": True,
        "reason": CONVERGED,
        "average_loss": 2.0,
    }
    return Optimum(**known | changes)


def test_gap_and_regret_follow_from_the_ends():
    assert _optimum().gap == 0.25
    assert _optimum().average_regret == (1.5, 1.75)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_the_interval_of_a_certificate_is_the_certificate(level):
    assert _optimum().interval(level) == (0.25, 0.5)


def test_each_end_has_its_error_and_degrees_of_freedom():
    found = _optimum(value_error=0.1, lower_error=0.02, degrees_of_freedom=(4.0, math.inf))
    lower, upper = found.interval(0.9)
    assert lower == pytest.approx(0.25 - 0.02 * stats.t.ppf(0.95, 4))
    assert upper == pytest.approx(0.5 + 0.1 * stats.norm.ppf(0.95))


@pytest.mark.parametrize("level", [0, 1, -0.5, 2, math.nan, "0.95", True, None])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(ValueError, match="level must be a number between 0 and 1"):
        _optimum(value_error=0.1).interval(level)
