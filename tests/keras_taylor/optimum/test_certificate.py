"""Tests of certified bounds, against brute force, a general maximiser and known minima."""

import itertools

import numpy as np
import pytest
from scipy import optimize

from keras_taylor.optimum import certificate
from keras_taylor.optimum.certificate import (
    CuttingPlaneModel,
    Interval,
    Tolerance,
    best_shares,
    certified,
)

RADIUS = 0.7


def _bound(shares, heights, gradients, radius):
    return shares @ heights - radius * np.linalg.norm(shares @ gradients)


@pytest.mark.parametrize("radius", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_no_other_shares_have_a_higher_bound(seed, radius):
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
def test_gradients_of_zero_leave_the_highest_tangent(heights):
    shares, bound = best_shares(np.array(heights), np.zeros((len(heights),) * 2), RADIUS)
    assert bound == max(heights)
    assert shares.sum() == pytest.approx(1.0)


@pytest.fixture(scope="module")
def quadratic():
    """Tangents of `||A x - y||^2` at points of growing subspaces about 0, and its minimum."""
    generator = np.random.default_rng(0)
    matrix, y = generator.normal(size=(8, 5)), generator.normal(size=8)
    tangents = CuttingPlaneModel()
    for size in range(1, 6):
        z = RADIUS * generator.normal(size=size) / 5
        offset = np.pad(z, (0, 5 - size))
        error = matrix @ offset - y
        gradient = 2 * matrix.T @ error
        tangents.add(z, error @ error - gradient @ offset, gradient)
    points = generator.normal(size=(100_000, 5))
    points *= (
        RADIUS
        * generator.uniform(0, 1, (len(points), 1)) ** 0.2
        / np.linalg.norm(points, axis=1, keepdims=True)
    )
    return tangents, np.min(np.sum((points @ matrix.T - y) ** 2, axis=1))


def test_bounds_are_below_the_minimum_and_together_higher(quadratic):
    tangents, minimum = quadratic
    alone, z = tangents.highest_single(RADIUS)
    together, average = tangents.highest(RADIUS)
    assert alone < together <= minimum
    assert len(average) == 5
    assert 1 <= len(z) <= 5


SIZE, DIMENSIONS = 12, 4


def _problem(rank=SIZE):
    """Returns `F(x) = c + l x + x A x / 2`, and an orthonormal basis of a subspace, as rows."""
    generator = np.random.default_rng(3)
    half = generator.normal(size=(SIZE, rank)) * np.logspace(0, -2, rank)
    linear = generator.normal(size=SIZE)
    basis = np.linalg.qr(generator.normal(size=(SIZE, DIMENSIONS)))[0].T
    return half @ half.T, linear, basis


def _bound_at(x, matrix, linear, radius):
    gradient = linear + matrix @ x
    return linear @ x + x @ matrix @ x / 2 - gradient @ x - radius * np.linalg.norm(gradient)


def _highest(matrix, linear, basis, radius):
    images = basis @ matrix
    across, factor = np.linalg.qr(images.T)
    inside = across.T @ linear
    outside = np.linalg.norm(linear - across @ inside)
    return certificate.dual_point(images @ basis.T, factor, inside, outside, radius)


@pytest.mark.parametrize("radius", [1e-3, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("rank", [SIZE, 2])
def test_no_other_point_of_the_subspace_has_a_higher_bound(radius, rank):
    matrix, linear, basis = _problem(rank)
    z = _highest(matrix, linear, basis, radius)
    found = _bound_at(basis.T @ z, matrix, linear, radius)
    expected = -optimize.minimize(
        lambda z: -_bound_at(basis.T @ z, matrix, linear, radius), z, method="Nelder-Mead"
    ).fun
    assert found == pytest.approx(expected, rel=1e-4)
    assert found >= _bound_at(np.zeros(SIZE), matrix, linear, radius)


@pytest.mark.parametrize("radius", [0.1, 3.0])
def test_in_the_whole_space_the_bound_is_the_minimum(radius):
    matrix, linear, _ = _problem()
    z = _highest(matrix, linear, np.eye(SIZE), radius)
    minimum = optimize.minimize(
        lambda x: linear @ x + x @ matrix @ x / 2,
        np.zeros(SIZE),
        jac=lambda x: linear + matrix @ x,
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda x: radius**2 - x @ x},
        options={"ftol": 1e-14, "maxiter": 500},
    ).fun
    assert _bound_at(z, matrix, linear, radius) == pytest.approx(minimum, rel=1e-5)


def test_without_directions_or_slope_the_dual_point_is_the_centre():
    nothing = np.zeros((0, 0))
    assert certificate.dual_point(nothing, nothing, np.zeros(0), 1.0, 1.0).shape == (0,)
    assert not certificate.dual_point(np.eye(2), np.eye(2), np.zeros(2), 0.0, 1.0).any()
    assert not certificate.dual_point(
        np.zeros((2, 2)), np.zeros((2, 2)), np.ones(2), 1.0, 1.0
    ).any()


@pytest.mark.parametrize("radius", [0.1, 2.0, 50.0])
def test_certified_bounds_hold_over_the_whole_ball(radius):
    matrix, linear, _ = _problem()
    generator = np.random.default_rng(0)
    center, at = generator.normal(size=(2, SIZE))

    def value(x):
        return linear @ x + x @ matrix @ x / 2

    found = certified(at, value(at), linear + matrix @ at, center, radius)
    moves = generator.normal(size=(1000, SIZE))
    moves *= radius / np.linalg.norm(moves, axis=1, keepdims=True)
    assert found.lower_bound <= min(value(center + move) for move in moves)
    assert found.value == value(at)
    assert certified(at, np.nan, at, center, radius).lower_bound == -np.inf


def test_a_higher_bound_is_taken_with_its_point_and_name():
    low = Interval(np.zeros(1), 3.0, 1.0, scale=5.0, lower_point=np.zeros(1))
    high = Interval(np.ones(1), 4.0, 2.0, scale=1.0, lower_point=np.ones(1), bound="dual")
    found = low.raised(high)
    assert (found.value, found.lower_bound, found.scale, found.bound) == (3.0, 2.0, 5.0, "dual")
    assert found.lower_point is high.lower_point
    assert high.raised(low).bound == "dual"


def test_a_tolerance_is_the_larger_of_both():
    assert Tolerance(0.1, 2.0).gap(-5.0) == 2.0
    assert Tolerance(0.1, 2.0).gap(-50.0) == 5.0
    assert Interval(np.zeros(1), 1.0, 0.95).reached(Tolerance(0.1))
    assert not Interval(np.zeros(1)).reached(Tolerance(0.1, 1e9))
