"""Tests of the trust-region problem and of the subspace it is solved in."""

import numpy as np
import pytest
from objectives import Squares

from keras_taylor.optimum import subspace
from keras_taylor.optimum.passes import Budget, Passes


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


def _problem(size=12):
    """Squares whose mean is a random quadratic."""
    generator = np.random.default_rng(1)
    return Squares(generator.normal(size=(size, size)), generator.normal(size=size))


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_solutions_tell_value_and_gap_of_the_quadratic(offset):
    problem, center = _problem(), np.full(12, 0.2)
    at = center + offset
    passes = Passes(problem, Budget())
    model = subspace.QuadraticModel(passes, center, at, *problem.value_and_gradient(at))
    model.refine([0.7], target=0.05)
    found = model.solve(0.7)
    value, gradient = problem.value_and_gradient(found.point)
    move = found.point - center
    assert found.value == pytest.approx(value)
    assert np.linalg.norm(move) <= 0.7 * (1 + 1e-9)
    dual_value, dual_gradient = problem.value_and_gradient(found.dual_point)
    along = dual_gradient @ (found.dual_point - center)
    bound = dual_value - along - 0.7 * np.linalg.norm(dual_gradient)
    assert found.lower_bound == pytest.approx(bound)
    assert found.lower_bound >= value - gradient @ move - 0.7 * np.linalg.norm(gradient)
    assert 0 <= found.gap <= 0.05


def test_subspace_of_full_dimension_is_complete():
    problem, budget = _problem(4), Budget()
    at = np.zeros(4)
    model = subspace.QuadraticModel(
        Passes(problem, budget), at, at, *problem.value_and_gradient(at)
    )
    model.refine([1e6])
    assert model.is_complete
    assert budget.taken == 4
    solution = np.linalg.solve(problem.matrix, problem.targets)
    np.testing.assert_allclose(model.solve(1e6).point, solution, rtol=1e-6)
