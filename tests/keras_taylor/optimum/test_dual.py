"""Tests of the highest lower bound within a subspace, against a general maximiser."""

import numpy as np
import pytest
from scipy import optimize

from keras_taylor.optimum import dual

SIZE, DIMENSIONS = 12, 4


def _problem(rank=SIZE):
    """Returns `F(x) = c + l x + x A x / 2`, and an orthonormal basis of a subspace, as rows."""
    generator = np.random.default_rng(3)
    half = generator.normal(size=(SIZE, rank)) * np.logspace(0, -2, rank)
    linear = generator.normal(size=SIZE)
    basis = np.linalg.qr(generator.normal(size=(SIZE, DIMENSIONS)))[0].T
    return half @ half.T, linear, basis


def _bound(x, matrix, linear, radius):
    gradient = linear + matrix @ x
    return linear @ x + x @ matrix @ x / 2 - gradient @ x - radius * np.linalg.norm(gradient)


def _highest(matrix, linear, basis, radius):
    images = basis @ matrix
    across, factor = np.linalg.qr(images.T)
    inside = across.T @ linear
    outside = np.linalg.norm(linear - across @ inside)
    return dual.highest_bound(images @ basis.T, factor, inside, outside, radius)


@pytest.mark.parametrize("radius", [1e-3, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("rank", [SIZE, 2])
def test_no_other_point_of_the_subspace_proves_more(radius, rank):
    matrix, linear, basis = _problem(rank)
    z = _highest(matrix, linear, basis, radius)
    found = _bound(basis.T @ z, matrix, linear, radius)
    expected = -optimize.minimize(
        lambda z: -_bound(basis.T @ z, matrix, linear, radius), z, method="Nelder-Mead"
    ).fun
    assert found == pytest.approx(expected, rel=1e-4)
    assert found >= _bound(np.zeros(SIZE), matrix, linear, radius)


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
    assert _bound(z, matrix, linear, radius) == pytest.approx(minimum, rel=1e-5)


def test_without_directions_or_without_a_slope_nothing_is_sought():
    nothing = np.zeros((0, 0))
    assert dual.highest_bound(nothing, nothing, np.zeros(0), 1.0, 1.0).shape == (0,)
    assert not dual.highest_bound(np.eye(2), np.eye(2), np.zeros(2), 0.0, 1.0).any()
    assert not dual.highest_bound(np.zeros((2, 2)), np.zeros((2, 2)), np.ones(2), 1.0, 1.0).any()
