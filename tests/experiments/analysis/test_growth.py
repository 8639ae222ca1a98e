"""Tests of the log-log slope."""

import numpy as np
import pytest

from experiments.analysis import growth
from experiments.runs import rounds

ROUNDS = np.array(rounds.log_spaced(10_000, 60))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 1.5])
def test_a_power_law_is_exact(power):
    fit = growth.log_log_slope(ROUNDS, 3.0 * ROUNDS**power)
    assert fit["slope"] == pytest.approx(power, abs=1e-12)
    assert fit["intercept"] == pytest.approx(np.log(3.0))
    assert fit["standard_error"] == pytest.approx(0, abs=1e-9)
    assert fit["share_left_out"] == 0


def test_early_rounds_are_not_used():
    values = np.where(ROUNDS < 10, 1e6, np.sqrt(ROUNDS))
    assert growth.log_log_slope(ROUNDS, values)["slope"] == pytest.approx(0.5)


def test_what_has_no_logarithm_is_left_out_and_counted():
    values = np.sqrt(ROUNDS)
    late = np.flatnonzero(ROUNDS >= 10)
    values[late[:4]] = [0.0, -1.0, np.nan, np.inf]
    fit = growth.log_log_slope(ROUNDS, values)
    assert fit["slope"] == pytest.approx(0.5)
    assert fit["share_left_out"] == pytest.approx(4 / len(late))


@pytest.mark.parametrize("values", [[], [1.0], [-1.0] * len(ROUNDS), [None] * len(ROUNDS)])
def test_too_little_to_fit_is_no_slope(values):
    fit = growth.log_log_slope(ROUNDS[: len(values)], values)
    assert fit["slope"] is None
    assert fit["r_squared"] is None


def test_two_rounds_at_the_end_are_no_line():
    assert growth.log_log_slope([10, 11], [1.0, 2.0])["slope"] is None


def test_a_widened_slope_covers_all_that_the_gaps_leave_open():
    generator = np.random.default_rng(0)
    rounds = np.array([10, 30, 100, 300])
    lower = rounds**0.6 / rounds
    upper = lower * generator.uniform(1, 1.5, 4)
    rows = [
        {"rounds": n, "average_regret_lower": low, "average_regret_upper": high}
        for n, low, high in zip(rounds, lower, upper, strict=True)
    ]
    found = growth.widened({"slope": 0.6, "lower": 0.55, "upper": 0.66}, rows)
    drawn = generator.uniform(lower, upper, (500, 4))
    corners = np.where(generator.integers(0, 2, (500, 4)), lower, upper)
    fits = [
        np.polyfit(np.log(rounds), np.log(rounds * regret), 1)[0]
        for regret in np.concatenate([drawn, corners])
    ]
    assert found["lower"] - 0.55 == pytest.approx(min(fits) - 0.6, abs=1e-9)
    assert found["upper"] - 0.66 == pytest.approx(max(fits) - 0.6, abs=1e-9)


def test_an_open_end_leaves_a_slope_open():
    rows = [
        {"rounds": n, "average_regret_lower": 1.0, "average_regret_upper": None}
        for n in (10, 20, 40)
    ]
    found = growth.widened({"slope": 0.6, "lower": 0.55, "upper": 0.66}, rows)
    assert (found["slope"], found["lower"], found["upper"]) == (0.6, None, None)
