"""Tests of the rate at which regret grows."""

import numpy as np
import pytest
from scipy import stats

from keras_taylor.optimum import growth
from keras_taylor.optimum.decomposition import Decomposition

HORIZONS = [10, 20, 50, 100, 200, 500, 1000]


def _known(power, noise=0.0, seed=0, sign=1.0):
    """A decomposition whose cumulative regret is `N**power` with noise in the rounds."""
    errors = 1 + noise * np.random.default_rng(seed).normal(size=1000)
    rows = [{"part": "network", "rounds": n} for n in HORIZONS]
    regrets = {("network", n): sign * n ** (power - 1) * errors[:n] for n in HORIZONS}
    return Decomposition(rows, regrets)


def test_rate_of_known_growth():
    rate = _known(0.5).rate()["network"]
    assert rate.slope == pytest.approx(0.5)
    assert (rate.lower, rate.upper) == (pytest.approx(0.5), pytest.approx(0.5))
    assert (rate.points, rate.share_left_out) == (7, 0.0)


def test_interval_of_the_rate_covers_the_truth(monkeypatch):
    """As a 95 % interval: the number of misses is no more than chance would have."""
    monkeypatch.setattr(growth, "RESAMPLES", 300)
    draws, missed = 60, 0
    for seed in range(draws):
        rate = _known(0.5, noise=0.5, seed=seed).rate()["network"]
        assert rate.lower <= rate.slope <= rate.upper
        missed += not rate.lower <= 0.5 <= rate.upper
    assert stats.binomtest(missed, draws, 0.05, alternative="greater").pvalue > 1e-3


def test_rate_over_seeds():
    tables = [_known(0.5, noise=0.5, seed=seed) for seed in range(5)]
    rate = tables[0].rate(others=tables[1:])["network"]
    assert rate.lower <= rate.slope <= rate.upper
    assert rate.slope == pytest.approx(0.5, abs=0.1)


def test_regret_that_is_not_positive_is_left_out():
    table = _known(0.5)
    table.regrets["network", 10] = -np.ones(10)
    rate = table.rate()["network"]
    assert rate.points == 6
    assert rate.share_left_out == pytest.approx(1 / 7)
    assert rate.slope == pytest.approx(0.5)
    nothing = _known(0.5, sign=-1.0).rate()["network"]
    assert np.isnan([nothing.slope, nothing.lower, nothing.upper]).all()
    assert nothing.share_left_out == 1.0
