"""Tests of the solver on problems with known answers."""

import numpy as np
import pytest
from scipy import optimize

from keras_taylor.optimum import ball
from keras_taylor.optimum.passes import Passes


class Squares:
    """Mean of squared residuals of a linear map."""

    is_quadratic = True

    def __init__(self, matrix, targets):
        self.matrix, self.targets = matrix, targets

    def value_and_gradient(self, v):
        error = self.matrix @ v - self.targets
        return error @ error / len(error), 2 * self.matrix.T @ error / len(error)

    def curvature(self, v, p):
        return 2 * self.matrix.T @ (self.matrix @ p) / len(self.targets)


class Logistic(Squares):
    """Mean of logistic losses of a linear map."""

    is_quadratic = False

    def value_and_gradient(self, v):
        f, labels = self.matrix @ v, self.targets > 0
        slope = 1 / (1 + np.exp(-f)) - labels
        return np.mean(np.logaddexp(0, f) - labels * f), self.matrix.T @ slope / len(f)

    def curvature(self, v, p):
        q = 1 / (1 + np.exp(-self.matrix @ v))
        return self.matrix.T @ (q * (1 - q) * (self.matrix @ p)) / len(q)


def _random(kind, seed):
    generator = np.random.default_rng(seed)
    size, rows = generator.integers(2, 30), generator.integers(5, 40)
    matrix, targets = generator.normal(size=(rows, size)), generator.normal(size=rows)
    return kind(matrix, targets), generator.normal(size=size), 10.0 ** generator.uniform(-2, 0.5)


def _reference(problem, center, radius):
    """Returns the minimum over the ball by SciPy's general solver."""
    found = optimize.minimize(
        lambda v: problem.value_and_gradient(v)[0],
        center,
        jac=lambda v: problem.value_and_gradient(v)[1],
        method="SLSQP",
        constraints={
            "type": "ineq",
            "fun": lambda v: radius**2 - (v - center) @ (v - center),
            "jac": lambda v: -2 * (v - center),
        },
        options={"maxiter": 2000, "ftol": 1e-14},
    )
    return found.fun


@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-6])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", [Squares, Logistic])
def test_interval_contains_the_minimum(kind, seed, tolerance):
    problem, center, radius = _random(kind, seed)
    passes = Passes(problem, 300)
    (found,) = ball.minimize(passes, center, [radius], tolerance, kind.is_quadratic)
    minimum = _reference(problem, center, radius)
    assert found.reached(tolerance)
    assert found.lower_bound <= minimum + 1e-9
    assert minimum <= found.value + 1e-9
    assert np.linalg.norm(found.point - center) <= radius * (1 + 1e-9)
    assert found.value == problem.value_and_gradient(found.point)[0]


def test_large_ball_holds_the_least_squares_solution():
    generator = np.random.default_rng(0)
    matrix, targets = generator.normal(size=(30, 5)), generator.normal(size=30)
    (found,) = ball.minimize(Passes(Squares(matrix, targets)), np.zeros(5), [1e3], 1e-9, True)
    solution = np.linalg.lstsq(matrix, targets, rcond=None)[0]
    np.testing.assert_allclose(found.point, solution, rtol=1e-4)


def test_few_passes_leave_a_valid_interval():
    problem, center, radius = _random(Logistic, 3)
    minimum = _reference(problem, center, radius)
    for most in (1, 2, 3, 4, 5):
        passes = Passes(problem, most)
        (found,) = ball.minimize(passes, center, [radius], 1e-12)
        assert passes.count <= most
        assert found.lower_bound <= minimum + 1e-9 <= found.value + 2e-9


def test_never_worse_than_the_start():
    problem, center, radius = _random(Logistic, 1)
    start = center + radius * 0.5 * np.ones_like(center) / np.sqrt(len(center))
    (found,) = ball.minimize(Passes(problem, 3), center, [radius], 1e-9, start=start)
    assert found.value <= problem.value_and_gradient(start)[0]


def test_a_centre_that_is_best_needs_one_pass():
    problem = Squares(np.eye(3), np.ones(3))
    passes = Passes(problem)
    (found,) = ball.minimize(passes, np.ones(3), [1.0], 0.01, True)
    assert found.value == found.lower_bound == 0.0
    assert passes.count == 1


def test_passes_are_watched():
    problem, center, radius = _random(Squares, 2)
    seen = []
    passes = Passes(problem, watch=lambda count, best: seen.append((count, best)))
    ball.minimize(passes, center, [radius], 1e-6, True)
    counts, best = zip(*seen, strict=True)
    assert list(counts) == list(range(1, passes.count + 1))
    assert best[0].gap == np.inf
    assert best[-1].gap < np.inf


@pytest.mark.parametrize("kind", [Squares, Logistic])
def test_several_radii_at_once(kind):
    problem, center, _ = _random(kind, 4)
    radii = [0.5, 0.02, 3.0]
    passes = Passes(problem)
    found = ball.minimize(passes, center, radii, 1e-6, kind.is_quadratic)
    alone = 0
    for radius, interval in zip(radii, found, strict=True):
        single = Passes(problem)
        (expected,) = ball.minimize(single, center, [radius], 1e-6, kind.is_quadratic)
        np.testing.assert_allclose(interval.value, expected.value, rtol=3e-6)
        assert interval.reached(1e-6)
        assert np.linalg.norm(interval.point - center) <= radius * (1 + 1e-9)
        alone += single.count
    assert passes.count < alone or not kind.is_quadratic


@pytest.mark.parametrize("kind", [Squares, Logistic])
def test_starting_from_the_solution_takes_few_passes(kind):
    problem, center, radius = _random(kind, 5)
    (found,) = ball.minimize(Passes(problem), center, [radius], 1e-6, kind.is_quadratic)
    passes = Passes(problem)
    (again,) = ball.minimize(passes, center, [radius], 1e-5, kind.is_quadratic, start=found.point)
    assert passes.count == 1
    assert again.value == found.value


def test_a_start_outside_of_the_ball_is_taken_into_it():
    problem, center, radius = _random(Squares, 6)
    (found,) = ball.minimize(Passes(problem), center, [radius], 1e-6, True, start=center + 100.0)
    assert found.reached(1e-6)
    assert np.linalg.norm(found.point - center) <= radius * (1 + 1e-9)


class Interrupted(Squares):
    """A problem in whose passes the user presses Ctrl-C."""

    def __init__(self, problem, at):
        super().__init__(problem.matrix, problem.targets)
        self.left = at

    def curvature(self, v, p):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().curvature(v, p)


def test_an_interrupted_solve_is_valid_and_can_go_on():
    generator = np.random.default_rng(0)
    problem = Squares(generator.normal(size=(40, 20)), generator.normal(size=40))
    center, radius = np.ones(20), 0.5
    passes = Passes(Interrupted(problem, at=3))
    (found,) = ball.minimize(passes, center, [radius], 1e-9, True)
    minimum = _reference(problem, center, radius)
    assert passes.interrupted
    assert passes.count == 4
    assert found.lower_bound <= minimum + 1e-9 <= found.value + 2e-9
    assert found.value < problem.value_and_gradient(center)[0]
    (after,) = ball.minimize(Passes(problem), center, [radius], 1e-9, True, start=found.point)
    assert after.reached(1e-9)


def test_a_value_that_is_not_finite_is_no_claim():
    problem = Squares(np.eye(2), np.array([np.nan, 1.0]))
    (found,) = ball.minimize(Passes(problem), np.zeros(2), [1.0], 0.1, True)
    assert not found.reached(0.1)
    assert np.isnan(found.value)
