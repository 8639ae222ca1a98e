"""Tests of what several seeds say."""

import math

import numpy as np
import pytest

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
