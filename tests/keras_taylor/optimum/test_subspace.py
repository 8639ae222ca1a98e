"""Tests of subspaces, of the trust-region problem and of the quadratic model within them."""

import numpy as np
import pytest

from keras_taylor.optimum import subspace
from keras_taylor.optimum.subspace import Rows, split


def test_rows_grow_without_loss():
    vectors, rows = np.random.default_rng(0).normal(size=(20, 3)), Rows(3)
    for vector in vectors:
        rows.append(vector)
    np.testing.assert_array_equal(rows.rows, vectors)


def test_a_vector_is_split_into_what_the_rows_have_and_a_direction_split():
    generator = np.random.default_rng(0)
    rows = np.linalg.qr(generator.normal(size=(6, 2)))[0].T
    vector = generator.normal(size=6)
    inside, direction, left = split(vector, rows)
    np.testing.assert_allclose(rows.T @ inside + left * direction, vector, atol=1e-14)
    np.testing.assert_allclose(rows @ direction, 0.0, atol=1e-15)
    assert np.linalg.norm(direction) == pytest.approx(1.0)


@pytest.mark.parametrize("vector", [np.array([1e8, 3e7, 1e-7]), np.zeros(3)])
def test_a_rest_of_rounding_has_no_direction(vector):
    _, direction, left = split(vector, np.eye(3)[:2])
    assert left == 0.0
    np.testing.assert_array_equal(direction, 0.0)


@pytest.mark.parametrize("radius", [1e-3, 1.0, 1e4])
def test_trust_region_meets_its_conditions(radius):
    generator = np.random.default_rng(0)
    half, linear = generator.normal(size=(6, 4)), generator.normal(size=6)
    matrix = half @ half.T + 0.01 * np.eye(6)
    z, shift = subspace.trust_region(matrix, linear, radius)
    assert np.linalg.norm(z) <= radius * (1 + 1e-9)
    assert shift >= 0
    np.testing.assert_allclose(
        matrix @ z + shift * z, -linear, atol=1e-6 * np.linalg.norm(linear) * max(1, shift)
    )
    assert shift == 0 or np.linalg.norm(z) == pytest.approx(radius)


SIZE, RADIUS = 12, 0.7


def _model(offset, directions):
    """A model of a random quadratic `F(x) = ||A x - b||^2` with some directions, and F."""
    generator = np.random.default_rng(1)
    matrix, targets = generator.normal(size=(SIZE, SIZE)), generator.normal(size=SIZE)
    center = np.full(SIZE, 0.2)
    at = center + offset

    def value_and_gradient(x):
        error = matrix @ x - targets
        return error @ error, 2 * matrix.T @ error

    model = subspace.QuadraticModel(center, at, *value_and_gradient(at))
    first = model.first_vector()
    assert (first is None) == (offset == 0.0)
    vectors = [] if first is None else [first]
    while len(vectors) < directions:
        vectors.append(model.next_vector(generator.normal(size=SIZE)))
        if first is not None and len(vectors) == 2:
            model.extend(first, 2 * matrix.T @ matrix @ first)
            vectors[-1] = model.next_vector(vectors[-1])
        model.extend(vectors[-1], 2 * matrix.T @ matrix @ vectors[-1])
    return model, value_and_gradient, center


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_a_solution_has_value_bound_and_residual_of_the_quadratic(offset):
    model, value_and_gradient, center = _model(offset, 5)
    found = model.solve(RADIUS)
    value, gradient = value_and_gradient(model.point(found.z))
    move = model.point(found.z) - center
    assert found.value == pytest.approx(value)
    assert np.linalg.norm(move) <= RADIUS * (1 + 1e-9)
    np.testing.assert_allclose(model.residual(found), gradient + found.shift * move, atol=1e-9)
    lower = model.point(found.lower_z)
    value, gradient = value_and_gradient(lower)
    bound = value - gradient @ (lower - center) - RADIUS * np.linalg.norm(gradient)
    assert found.lower_bound == pytest.approx(bound)


def test_in_the_whole_space_the_gap_is_zero():
    model, value_and_gradient, _ = _model(0.3, SIZE)
    assert model.is_complete
    found = model.solve(1e3)
    assert np.linalg.norm(value_and_gradient(model.point(found.z))[1]) < 1e-6
    assert found.value - found.lower_bound == pytest.approx(0.0, abs=1e-6)
    assert model.next_vector(np.ones(SIZE)) is None
