"""Tests of estimates from samples of rounds, against whole runs of which every round is known."""

import math

import numpy as np
import objectives
import pytest
from scipy import stats

from keras_taylor.optimum.sampling_error import (
    Design,
    covariance_of_sums,
    quantile,
    stratified_mean,
)
from keras_taylor.trajectory.sampling import strata

ROUNDS, DRAWS = 300, 200


def _drawn(values, found, name):
    return np.array([values[number - 1] for stratum in found for number in getattr(stratum, name)])


def test_mean_and_error_are_those_of_repeated_draws():
    values = np.random.default_rng(0).normal(size=ROUNDS).cumsum()
    estimates = []
    for seed in range(2000):
        found = strata(ROUNDS, 60, seed)
        estimates.append(Design(found).mean_of_check(_drawn(values, found, "check")))
    means = np.array([estimate.value for estimate in estimates])
    error = means.std()
    assert means.mean() == pytest.approx(values.mean(), abs=4 * error / math.sqrt(2000))
    squares = np.mean([estimate.error**2 for estimate in estimates])
    assert math.sqrt(squares) == pytest.approx(error, rel=0.1)


def test_what_is_kept_whole_has_no_error():
    values = np.arange(10.0)
    found = strata(10, 10, 0)
    design = Design(found)
    for estimate in (design.mean_of_fit(values), design.mean_of_check(values)):
        assert estimate.value == pytest.approx(4.5)
        assert (estimate.error, estimate.degrees_of_freedom) == (0.0, math.inf)
    # Unless each value is itself an estimate.
    groups = [values[:4], values[4:]]
    assert stratified_mean([4, 6], groups, is_exact=False).error > 0
    assert stratified_mean([4, 6], groups).error == 0


def test_a_stratum_of_one_draw_has_no_known_error():
    assert math.isnan(stratified_mean([4], [np.array([1.0])]).error)


def test_sums_and_their_covariance_are_those_of_repeated_draws():
    values = np.random.default_rng(0).normal(size=(2, ROUNDS)).cumsum(axis=1)
    values[0, 127:] = 0.0
    sums, covariances = [], []
    for seed in range(1000):
        found = strata(ROUNDS, 60, seed)
        drawn = np.stack([_drawn(row, found, "check") for row in values])
        one, covariance = Design(found).sums_of_check(drawn)
        sums.append(one)
        covariances.append(covariance)
    expected = np.cov(np.array(sums).T)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.all(np.abs(np.mean(covariances, axis=0) - expected) <= 0.15 * scale)
    np.testing.assert_allclose(
        covariance_of_sums([4], [np.array([[1.0, 2.0]])]), [[0.5 * 16 / 2 * 0.5]]
    )


def test_quantile_is_that_of_student():
    assert quantile(0.95, math.inf) == pytest.approx(1.959964)
    assert quantile(0.95, 4) == pytest.approx(2.776445)


@pytest.mark.parametrize(("size", "unknowns"), [(24, 6), (60, 6), (40, 20), (150, 20)])
def test_interval_covers_the_optimum(size, unknowns):
    """In at least 95 % of draws, but for chance, also where the minimiser overfits the sample."""
    generator, radius = np.random.default_rng(size + unknowns), 2.0
    matrix = generator.normal(size=(ROUNDS, unknowns))
    targets = matrix @ generator.normal(size=unknowns) / 3 + generator.normal(size=ROUNDS)
    # Losses fall while the run goes on.
    losses = 3.0 + 4.0 / np.arange(1, ROUNDS + 1) + 0.3 * generator.normal(size=ROUNDS)
    center = np.zeros(unknowns)
    whole = objectives.MatrixObjective(matrix[:, None], targets[:, None], objectives.squares)
    truth = objectives.solved(whole, center, [radius], 1e-9)[0][0].value
    missed = overfitted = 0
    for seed in range(DRAWS):
        found = strata(ROUNDS, size, seed)
        places = [n - 1 for s in found for n in s.fit]
        weights = np.sqrt([s.weight(n) / ROUNDS * len(places) for s in found for n in s.fit])
        rows, values = matrix[places] * weights[:, None], targets[places] * weights
        objective = objectives.MatrixObjective(rows[:, None], values[:, None], objectives.squares)
        solved = objectives.solved(objective, center, [radius], 1e-6)[0][0]
        regrets = losses - (matrix @ solved.point - targets) ** 2
        value, lower = Design(found).bounds(
            losses.mean(),
            solved.lower_bound,
            losses[places],
            regrets[places],
            _drawn(regrets, found, "check"),
        )
        above = value.value + value.error * quantile(0.95, value.degrees_of_freedom)
        below = lower.value - lower.error * quantile(0.95, lower.degrees_of_freedom)
        missed += not below <= truth <= above
        overfitted += lower.value < truth
    assert stats.binomtest(missed, DRAWS, 0.05, alternative="greater").pvalue > 0.01
    # On average the fit sample is below the truth, as it should be.
    assert overfitted > DRAWS / 2
