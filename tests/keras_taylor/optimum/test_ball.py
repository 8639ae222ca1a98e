"""Tests of the solver on problems with known answers."""

import numpy as np
import pytest
from objectives import Logistic, Squares, minimum_in_ball, solved

from keras_taylor.optimum import ball
from keras_taylor.optimum.passes import Budget, Passes


def _random(kind, seed):
    generator = np.random.default_rng(seed)
    size, rows = generator.integers(2, 30), generator.integers(5, 40)
    matrix, targets = generator.normal(size=(rows, size)), generator.normal(size=rows)
    return kind(matrix, targets), generator.normal(size=size), 10.0 ** generator.uniform(-2, 0.5)


@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-6])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", [Squares, Logistic])
def test_interval_contains_the_minimum(kind, seed, tolerance):
    problem, center, radius = _random(kind, seed)
    (found,), _ = solved(problem, center, [radius], tolerance, most=300)
    minimum = minimum_in_ball(problem, center, radius)
    assert found.reached(tolerance)
    assert found.lower_bound <= minimum + 1e-9
    assert minimum <= found.value + 1e-9
    assert np.linalg.norm(found.point - center) <= radius * (1 + 1e-9)
    assert found.value == problem.value_and_gradient(found.point)[0]
    value, gradient = problem.value_and_gradient(found.lower_point)
    proved = value - gradient @ (found.lower_point - center) - radius * np.linalg.norm(gradient)
    assert found.lower_bound == pytest.approx(proved, abs=1e-12)


class Rough:
    """A problem as one of less precision sees it: with errors of a share of what it returns."""

    def __init__(self, problem, share):
        self._problem, self._share = problem, share
        self.preconditioner, self.can_prepare = None, False

    def value_and_gradient(self, point):
        value, gradient = self._problem.value_and_gradient(point)
        return value * (1 + self._share), gradient * (1 + self._share * np.cos(1e3 * gradient))

    def curvature_product(self, point, vector):
        return self._problem.curvature_product(point, vector)

    def sharpened(self):
        return None


@pytest.mark.parametrize("share", [1e-7, 0.3])
@pytest.mark.parametrize("kind", [Squares, Logistic])
def test_what_a_rougher_objective_found_is_proved_by_the_true_one(kind, share):
    """In two passes for each radius where it is precise enough, by more steps elsewhere."""
    problem, center, radius = _random(kind, 4)
    radii, is_quadratic = [radius, radius / 3], kind is Squares
    rough = Passes(Rough(problem, share), Budget())
    found = ball.minimize(rough, center, radii, 0.9e-3, is_quadratic)
    budget = Budget(300)
    true = Passes(problem, budget)
    proved = ball.minimize(true, center, radii, 1e-3, is_quadratic, found=found)
    for one, interval in zip(radii, proved, strict=True):
        minimum = minimum_in_ball(problem, center, one)
        assert interval.reached(1e-3)
        assert interval.lower_bound - 1e-9 <= minimum <= interval.value + 1e-9
    assert (budget.taken <= 4) == (share < 0.1)


def test_large_ball_holds_the_least_squares_solution():
    generator = np.random.default_rng(0)
    matrix, targets = generator.normal(size=(30, 5)), generator.normal(size=30)
    (found,), _ = solved(Squares(matrix, targets), np.zeros(5), [1e3], 1e-9)
    solution = np.linalg.lstsq(matrix, targets, rcond=None)[0]
    np.testing.assert_allclose(found.point, solution, rtol=1e-4)


def test_few_passes_leave_a_valid_interval():
    problem, center, radius = _random(Logistic, 3)
    minimum = minimum_in_ball(problem, center, radius)
    for most in (1, 2, 3, 4, 5):
        (found,), budget = solved(problem, center, [radius], 1e-12, most)
        assert budget.taken <= most
        assert found.lower_bound <= minimum + 1e-9 <= found.value + 2e-9


def test_never_worse_than_the_start():
    problem, center, radius = _random(Logistic, 1)
    start = center + radius * 0.5 * np.ones_like(center) / np.sqrt(len(center))
    (found,), _ = solved(problem, center, [radius], 1e-9, 3, start)
    assert found.value <= problem.value_and_gradient(start)[0]


def test_a_centre_that_is_best_needs_one_pass():
    problem = Squares(np.eye(3), np.ones(3))
    (found,), budget = solved(problem, np.ones(3), [1.0], 0.01)
    assert found.value == found.lower_bound == 0.0
    assert budget.taken == 1


def test_passes_are_watched_and_the_promised_gap_falls():
    problem, center, radius = _random(Squares, 2)
    seen = []
    budget = Budget(watch=lambda b: seen.append((b.taken, b.best, b.promised_gap)))
    ball.minimize(Passes(problem, budget), center, [radius], 1e-6, True)
    taken, best, promised = zip(*seen, strict=True)
    assert list(taken) == list(range(1, budget.taken + 1))
    assert best[0].gap == np.inf
    assert best[-1].gap < np.inf
    assert np.isnan(promised[0])
    assert promised[-1] < 1e-3 * promised[1]


@pytest.mark.parametrize("kind", [Squares, Logistic])
def test_several_radii_at_once(kind):
    problem, center, _ = _random(kind, 4)
    radii = [0.5, 0.02, 3.0]
    found, budget = solved(problem, center, radii, 1e-6)
    alone = 0
    for radius, interval in zip(radii, found, strict=True):
        (expected,), single = solved(problem, center, [radius], 1e-6)
        np.testing.assert_allclose(interval.value, expected.value, rtol=3e-6)
        assert interval.reached(1e-6)
        assert np.linalg.norm(interval.point - center) <= radius * (1 + 1e-9)
        alone += single.taken
    assert budget.taken < alone or not kind.is_quadratic


@pytest.mark.parametrize("kind", [Squares, Logistic])
def test_starting_from_the_solution_takes_few_passes(kind):
    problem, center, radius = _random(kind, 5)
    (found,), _ = solved(problem, center, [radius], 1e-6)
    (again,), budget = solved(problem, center, [radius], 1e-5, warm_start=found.point)
    assert budget.taken == 1
    assert again.value == found.value


def test_a_start_outside_of_the_ball_is_taken_into_it():
    problem, center, radius = _random(Squares, 6)
    (found,), _ = solved(problem, center, [radius], 1e-6, warm_start=center + 100.0)
    assert found.reached(1e-6)
    assert np.linalg.norm(found.point - center) <= radius * (1 + 1e-9)


class Interrupted(Squares):
    """A problem in whose passes the user presses Ctrl-C."""

    def __init__(self, problem, at):
        super().__init__(problem.matrix, problem.targets)
        self.left = at

    def curvature_product(self, point, vector):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().curvature_product(point, vector)


def test_an_interrupted_solve_is_valid_and_can_go_on():
    generator = np.random.default_rng(0)
    problem = Squares(generator.normal(size=(40, 20)), generator.normal(size=40))
    center, radius = np.ones(20), 0.5
    (found,), budget = solved(Interrupted(problem, at=3), center, [radius], 1e-9)
    minimum = minimum_in_ball(problem, center, radius)
    assert budget.interrupted
    assert budget.taken == 4
    assert found.lower_bound <= minimum + 1e-9 <= found.value + 2e-9
    assert found.value < problem.value_and_gradient(center)[0]
    (after,), _ = solved(problem, center, [radius], 1e-9, warm_start=found.point)
    assert after.reached(1e-9)


def test_a_value_that_is_not_finite_is_no_claim():
    problem = Squares(np.eye(2), np.array([np.nan, 1.0]))
    (found,), _ = solved(problem, np.zeros(2), [1.0], 0.1)
    assert not found.reached(0.1)
    assert np.isnan(found.value)
