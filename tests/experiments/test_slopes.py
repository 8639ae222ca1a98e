"""Tests of the log-log slope."""

import numpy as np
import pytest

from experiments import rounds, slopes

ROUNDS = np.array(rounds.log_spaced(10_000, 60))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 1.5])
def test_a_power_law_is_exact(power):
    fit = slopes.log_log_slope(ROUNDS, 3.0 * ROUNDS**power)
    assert fit["slope"] == pytest.approx(power, abs=1e-12)
    assert fit["intercept"] == pytest.approx(np.log(3.0))
    assert fit["standard_error"] == pytest.approx(0, abs=1e-9)
    assert fit["share_left_out"] == 0


def test_early_rounds_are_not_used():
    values = np.where(ROUNDS < 10, 1e6, np.sqrt(ROUNDS))
    assert slopes.log_log_slope(ROUNDS, values)["slope"] == pytest.approx(0.5)


def test_what_has_no_logarithm_is_left_out_and_counted():
    values = np.sqrt(ROUNDS)
    late = np.flatnonzero(ROUNDS >= 10)
    values[late[:4]] = [0.0, -1.0, np.nan, np.inf]
    fit = slopes.log_log_slope(ROUNDS, values)
    assert fit["slope"] == pytest.approx(0.5)
    assert fit["share_left_out"] == pytest.approx(4 / len(late))


@pytest.mark.parametrize("values", [[], [1.0], [-1.0] * len(ROUNDS), [None] * len(ROUNDS)])
def test_too_little_to_fit_is_no_slope(values):
    fit = slopes.log_log_slope(ROUNDS[: len(values)], values)
    assert fit["slope"] is None
    assert fit["r_squared"] is None


def test_two_rounds_at_the_end_are_no_line():
    assert slopes.log_log_slope([10, 11], [1.0, 2.0])["slope"] is None
