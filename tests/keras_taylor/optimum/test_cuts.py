"""Tests of lower bounds from several gradients, against brute force and a known minimum."""

import itertools

import numpy as np
import pytest

from keras_taylor.optimum.cuts import Cuts, best_shares

RADIUS = 0.7


def _bound(shares, heights, gradients, radius):
    return shares @ heights - radius * np.linalg.norm(shares @ gradients)


@pytest.mark.parametrize("radius", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_no_other_shares_prove_more(seed, radius):
    generator = np.random.default_rng(seed)
    heights, gradients = generator.normal(size=3), generator.normal(size=(3, 4))
    shares, bound = best_shares(heights, gradients @ gradients.T, radius)
    assert np.all(shares >= 0)
    assert shares.sum() == pytest.approx(1.0)
    assert bound == pytest.approx(_bound(shares, heights, gradients, radius))
    grid = np.linspace(0, 1, 201)
    others = [(a, b, 1 - a - b) for a, b in itertools.product(grid, grid) if a + b <= 1]
    highest = max(_bound(np.array(one), heights, gradients, radius) for one in others)
    assert bound >= highest - 1e-5 * (radius + 1)


@pytest.mark.parametrize("heights", [[1.0], [1.0, 1.0], [0.0, 1e-300]])
def test_gradients_of_zero_leave_the_highest(heights):
    shares, bound = best_shares(np.array(heights), np.zeros((len(heights),) * 2), RADIUS)
    assert bound == max(heights)
    assert shares.sum() == pytest.approx(1.0)


@pytest.fixture(scope="module")
def quadratic():
    """Tangents of `||A x - y||^2` at points of growing subspaces about 0, and its minimum."""
    generator = np.random.default_rng(0)
    matrix, y = generator.normal(size=(8, 5)), generator.normal(size=8)
    cuts = Cuts()
    for size in range(1, 6):
        z = RADIUS * generator.normal(size=size) / 5
        offset = np.pad(z, (0, 5 - size))
        error = matrix @ offset - y
        gradient = 2 * matrix.T @ error
        cuts.add(z, error @ error - gradient @ offset, gradient)
    points = generator.normal(size=(100_000, 5))
    points *= (
        RADIUS
        * generator.uniform(0, 1, (len(points), 1)) ** 0.2
        / np.linalg.norm(points, axis=1, keepdims=True)
    )
    return cuts, np.min(np.sum((points @ matrix.T - y) ** 2, axis=1))


def test_bounds_are_below_the_minimum_and_together_higher(quadratic):
    cuts, minimum = quadratic
    alone, z, scale = cuts.highest(RADIUS)
    together, average = cuts.highest_shared(RADIUS)
    assert alone < together <= minimum
    assert len(average) == 5
    assert 1 <= len(z) <= 5
    assert scale >= abs(alone)
