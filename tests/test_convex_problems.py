"""Tests of the random convex problems, and of the brackets of their minima.

A bracket is proved in extended precision; that F is what it should be is checked with SciPy.
"""

import collections

import numpy as np
import pytest
from convex_problems import KINDS, SPECIALS, problems
from convex_references import reference_bounds
from objectives import minimum_in_ball
from scipy import optimize

COUNT = 12


@pytest.fixture(scope="module")
def solved():
    """Problems with their brackets."""
    return [(problem, reference_bounds(problem)) for problem in problems(COUNT)]


def test_brackets_hold_and_nearly_all_are_tight(solved):
    for problem, bracket in solved:
        assert 0 <= bracket.lower <= bracket.upper, problem.name
        assert bracket.upper <= problem.value_longdouble(problem.center), problem.name
        offset = bracket.point - problem.center
        assert offset @ offset <= np.longdouble(problem.radius) ** 2 * (1 + 1e-15), problem.name
    assert sum(bracket.is_tight for _, bracket in solved) >= 0.9 * COUNT


def test_no_point_of_the_ball_is_below_the_bracket(solved):
    generator = np.random.default_rng(0)
    for problem, bracket in solved:
        for share in (1e-3, 0.1, 1.0):
            step = generator.normal(size=problem.center.shape)
            near = np.asarray(bracket.point - problem.center, "float64") + share * step
            near *= min(1, problem.radius / np.linalg.norm(near))
            assert problem.value_longdouble(problem.center + near) >= bracket.lower, problem.name


def test_a_general_solver_finds_the_same_minima(solved):
    class Asked:
        def __init__(self, problem):
            self.value_and_gradient = lambda v: (problem.value(v), problem.gradient(v))

    found = 0
    for problem, bracket in solved:
        if not problem.is_smooth or not 0.1 < problem.radius < 10:
            continue
        value = minimum_in_ball(Asked(problem), problem.center, problem.radius)
        assert value >= float(bracket.lower) - 1e-6 * float(bracket.scale), problem.name
        found += value <= float(bracket.upper) + 1e-5 * float(bracket.scale)
    assert found >= 1


def test_a_linear_program_has_the_same_minimum():
    """Of absolute losses, where the ball is too large to matter."""
    count = 0
    for problem in problems(108, seed=1):
        if problem.kind != "absolute" or problem.radius < 10 or not problem.matrix.any():
            continue
        bracket, (rows, size) = reference_bounds(problem), problem.matrix.shape
        target = (problem.targets - problem.shift).ravel() - problem.matrix @ problem.center
        sides = np.block([[problem.matrix, -np.eye(rows)], [-problem.matrix, -np.eye(rows)]])
        cost = np.concatenate([np.zeros(size), np.full(rows, 1 / len(problem.shift))])
        limits = [(-problem.radius, problem.radius)] * size + [(0, None)] * rows
        least = optimize.linprog(cost, sides, np.concatenate([target, -target]), bounds=limits)
        assert least.fun <= float(bracket.upper) + 1e-6 * float(bracket.scale), problem.name
        point = least.x[:size]
        if np.linalg.norm(point) <= problem.radius:
            count += 1
            assert least.fun >= float(bracket.lower) - 1e-6 * float(bracket.scale), problem.name
    assert count


def test_derivatives_are_those_of_the_value():
    generator = np.random.default_rng(0)
    for problem in problems(COUNT):
        wide = problem.widened()
        point = wide.center + generator.normal(size=wide.center.shape)
        move = generator.normal(size=wide.center.shape) * np.longdouble(1e-9)
        ends = [wide.value(point + sign * move) for sign in (1, -1)]
        slope, size = wide.gradient(point) @ move, 1 + sum(ends) + abs(wide.outputs(point)).max()
        assert abs(ends[0] - ends[1] - 2 * slope) <= 1e-6 * abs(slope) + 1e-16 * size, problem.name
        outputs = wide.outputs(point)
        assert wide.phi(outputs) == wide.value(point)
        if not problem.is_smooth:
            assert problem.hessian_product(point, move) is None
        elif problem.kind != "huber":
            change = wide.gradient(point + move) - wide.gradient(point - move)
            product = 2 * wide.hessian_product(point, move)
            room = 1e-6 * np.linalg.norm(np.asarray(product, "float64")) + 1e-16 * size
            np.testing.assert_allclose(np.asarray(change - product, "float64"), 0, atol=room)


def test_problems_are_the_same_for_a_seed_and_of_all_kinds():
    one, other = list(problems(120, seed=3)), list(problems(120, seed=3))
    for first, second in zip(one, other, strict=True):
        assert first.name == second.name
        np.testing.assert_array_equal(first.matrix, second.matrix)
    assert collections.Counter(problem.kind for problem in one) == dict.fromkeys(KINDS, 20)
    assert all(any(problem.name.endswith(special) for problem in one) for special in SPECIALS)
    assert any(problem.value(problem.center) > 0 == problem.radius for problem in one)
