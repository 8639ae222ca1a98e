"""Tests of what several seeds say."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.analysis import estimates


def test_mean_has_students_interval():
    found = estimates.mean([1.0, 2.0, 3.0])
    assert found.value == 2.0
    # Quantile 97.5 % of Student's t with two degrees of freedom, over the root of three.
    assert found.upper - 2.0 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert found.lower == pytest.approx(4.0 - found.upper)


def test_mean_of_little():
    assert estimates.mean([5.0]).value == 5.0
    assert math.isnan(estimates.mean([5.0, None, math.nan]).lower)
    assert math.isnan(estimates.mean([]).value)


def test_difference_is_paired():
    found = estimates.difference([11.0, 102.0, None], [10.0, 101.0, 3.0])
    assert (found.value, found.lower, found.upper) == (1.0, 1.0, 1.0)


def _groups(order, spread=0.0, seeds=4):
    generator = np.random.default_rng(0)
    return [
        [(x, y + spread * generator.normal()) for _ in range(seeds)] for x, y in enumerate(order)
    ]


def test_rank_correlation_of_a_strict_order():
    found = estimates.rank_correlation(_groups([9, 7, 5, 3, 1]))
    assert (found.value, found.lower, found.upper) == pytest.approx((-1, -1, -1))
    assert found.p_value == pytest.approx(2 / 120, rel=0.1)
    assert estimates.verdict(found, -1) == estimates.HOLDS
    assert estimates.verdict(found, 1) == estimates.FAILS


def test_few_groups_decide_nothing_however_sure_each_is():
    found = estimates.rank_correlation(_groups([9, 7, 5]))
    assert found.upper == pytest.approx(-1)
    assert estimates.verdict(found, -1) == estimates.UNDECIDED
    assert math.isnan(estimates.rank_correlation(_groups([9, 7])).value)


def test_noise_within_groups_widens_the_interval():
    found = estimates.rank_correlation(_groups([5, 4, 3, 2, 1], spread=5.0))
    assert found.lower < found.value <= found.upper
    assert estimates.verdict(found, -1) == estimates.UNDECIDED


def test_a_constant_has_no_rank():
    found = estimates.rank_correlation(_groups([1, 1, 1, 1]))
    assert math.isnan(found.value)
    assert estimates.verdict(found, -1) == estimates.UNDECIDED


def _is_near_its_level(hits, draws):
    """Whether as many hits are what intervals of 95 % give, by a test at the level of 0.1 %."""
    return stats.binomtest(hits, draws, estimates.CONFIDENCE).pvalue > 0.001


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_of_a_mean_covers_it_in_95_percent_of_draws(seeds):
    generator = np.random.default_rng(seeds)
    found = [estimates.mean(values) for values in generator.normal(2.0, 3.0, (2000, seeds))]
    hits = sum(one.lower <= 2.0 <= one.upper for one in found)
    assert _is_near_its_level(hits, len(found))


def test_the_interval_of_a_difference_covers_it_whatever_seeds_share():
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        # What a seed does to both is far larger than their difference.
        shared = generator.normal(0.0, 100.0, 3)
        one, other = shared + generator.normal(0.5, 1.0, 3), shared + generator.normal(0.0, 1.0, 3)
        found = estimates.difference(one, other)
        hits += found.lower <= 0.5 <= found.upper
    assert _is_near_its_level(hits, 2000)


def test_a_wrong_interval_would_be_found():
    """The quantile of the normal distribution in place of Student's covers too seldom."""
    generator = np.random.default_rng(0)
    values = generator.normal(0.0, 1.0, (2000, 3))
    hits = (np.abs(values.mean(axis=1)) <= 1.96 * stats.sem(values, axis=1)).sum()
    assert not _is_near_its_level(int(hits), 2000)


def test_of_independent_quantities_at_most_one_in_twenty_is_significant(monkeypatch):
    # Enough for all 120 permutations of five groups.
    monkeypatch.setattr(estimates, "RESAMPLES", 120)
    generator = np.random.default_rng(0)
    draws = generator.normal(size=(300, 5, 1, 2))
    p_values = [estimates.rank_correlation([list(g) for g in draw]).p_value for draw in draws]
    significant = sum(p <= 1 - estimates.CONFIDENCE for p in p_values)
    assert stats.binomtest(significant, 300, 0.05, alternative="greater").pvalue > 0.001


@pytest.mark.parametrize("size", [3, 5, 9])
def test_rank_correlation_is_spearmans(size):
    generator = np.random.default_rng(size)
    # With ties.
    pairs = generator.integers(0, 4, (size, 2)).astype(float)
    pairs[0], pairs[1] = (0.0, 1.0), (3.0, 2.0)
    found = estimates.rank_correlation([[pair] for pair in pairs])
    expected = stats.spearmanr(*pairs.T).statistic
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert (found.lower, found.upper) == pytest.approx((expected, expected)), "one seed each"
