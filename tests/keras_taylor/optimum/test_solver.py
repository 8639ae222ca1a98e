"""Tests of the solver on problems with known answers, in NumPy."""

import dataclasses

import numpy as np
import pytest
from objectives import (
    MatrixObjective,
    logistic,
    minimum_in_ball,
    random_objective,
    softmax,
    solved,
    squares,
)

from keras_taylor.optimum.certificate import Tolerance
from keras_taylor.optimum.requests import Extend, Multiply

# By name: the loss, and whether images are kept.
WAYS = {
    "quadratic": (squares, False),
    "newton": (logistic, False),
    "newton, three outputs": (softmax, False),
    "images": (softmax, True),
}
each_way = pytest.mark.parametrize("way", WAYS)


def _solved(way, problem, *arguments, **options):
    return solved(problem, *arguments, keeps_images=WAYS[way][1], **options)


def _random(way, seed, scale=1.0, **options):
    return random_objective(WAYS[way][0], seed, scale, **options)


def _reached(interval, rtol):
    return interval.reached(Tolerance(rtol))


@each_way
@pytest.mark.parametrize("rtol", [1e-1, 1e-3, 1e-6])
@pytest.mark.parametrize(("seed", "scale"), [*((seed, 1.0) for seed in range(5)), (0, 30.0)])
def test_the_interval_contains_the_minimum(way, seed, scale, rtol):
    problem, center, radius = _random(way, seed, scale)
    (found,), _ = _solved(way, problem, center, [radius], rtol, most=400)
    minimum = minimum_in_ball(problem, center, radius)
    assert _reached(found, rtol)
    # SciPy's point is a little outside of the ball.
    assert found.lower_bound <= minimum + 1e-9 + 1e-7 * abs(minimum)
    assert minimum <= found.value + 1e-9
    assert np.linalg.norm(found.point - center) <= radius * (1 + 1e-9)
    assert found.value == problem.value_and_gradient(found.point)[0]
    value, gradient = problem.value_and_gradient(found.lower_point)
    certified = value - gradient @ (found.lower_point - center) - radius * np.linalg.norm(gradient)
    assert found.lower_bound == pytest.approx(certified, abs=1e-12)


@each_way
@pytest.mark.parametrize("most", range(1, 8))
def test_few_passes_leave_a_valid_interval(way, most):
    problem, center, radius = _random(way, 3)
    minimum = minimum_in_ball(problem, center, radius)
    (found,), budget = _solved(way, problem, center, [radius], 1e-12, most)
    assert budget.num_passes <= most
    assert found.lower_bound <= minimum + 1e-9 <= found.value + 2e-9
    assert np.isfinite(found.gap)


@each_way
def test_several_radii_share_passes(way):
    problem, center, _ = _random(way, 4)
    radii = [0.5, 0.02, 3.0]
    found, budget = _solved(way, problem, center, radii, 1e-6)
    alone = 0
    for radius, interval in zip(radii, found, strict=True):
        (expected,), single = _solved(way, problem, center, [radius], 1e-6)
        np.testing.assert_allclose(interval.value, expected.value, rtol=3e-6)
        assert _reached(interval, 1e-6)
        assert np.linalg.norm(interval.point - center) <= radius * (1 + 1e-9)
        alone += single.num_passes
    assert budget.num_passes < alone or way.startswith("newton")


@each_way
def test_each_of_several_radii_has_a_pass(way):
    problem, center, _ = _random(way, 4)
    found, budget = _solved(way, problem, center, [0.5, 0.02, 3.0], 1e-9, most=4)
    assert budget.num_passes <= 4
    assert sum(np.isfinite(interval.value) for interval in found) >= 2


@each_way
def test_a_start_at_the_solution_takes_few_passes(way):
    problem, center, radius = _random(way, 5)
    (found,), cold = _solved(way, problem, center, [radius], 1e-6)
    (again,), budget = _solved(way, problem, center, [radius], 1e-5, start=found.point)
    assert budget.num_passes <= min(5, cold.num_passes)
    assert again.value <= found.value * (1 + 1e-5)


@each_way
def test_a_start_outside_of_the_ball_is_taken_into_it(way):
    problem, center, radius = _random(way, 1)
    (found,), _ = _solved(way, problem, center, [radius], 1e-6, start=center + 100.0)
    assert _reached(found, 1e-6)
    assert np.linalg.norm(found.point - center) <= radius * (1 + 1e-9)


@each_way
def test_a_ball_of_radius_zero_is_its_centre(way):
    problem, center, _ = _random(way, 2)
    (found,), budget = _solved(way, problem, center, [0.0], 1e-9)
    assert found.value == found.lower_bound == problem.value_and_gradient(center)[0]
    assert budget.num_passes == 1


@each_way
def test_a_value_that_is_not_finite_has_no_interval(way):
    problem, center, radius = _random(way, 2)
    problem.jacobian[0] = np.nan
    (found,), budget = _solved(way, problem, center, [radius], 0.1, most=50)
    assert not _reached(found, 0.1)
    assert np.isnan(found.value)
    assert budget.num_passes < 5


@each_way
def test_weights_without_influence_are_at_the_optimum(way):
    problem, center, radius = _random(way, 2)
    problem.jacobian[:] = 0.0
    (found,), budget = _solved(way, problem, center, [radius], 1e-9)
    assert found.gap == 0.0
    assert budget.num_passes <= 2


@each_way
def test_ctrl_c_at_any_request_leaves_a_valid_interval_to_go_on_from(way):
    plain, center, radius = _random(way, 3)
    radii = [radius, 2 * radius]
    _solved(way, plain, center, radii, 1e-9)
    minima = [minimum_in_ball(plain, center, each) for each in radii]
    for number in range(1, len(plain.seen) + 1):
        problem = dataclasses.replace(plain, interrupted_at=(number,))
        found, budget = _solved(way, problem, center, radii, 1e-9)
        assert budget.interrupted
        for interval, minimum in zip(found, minima, strict=True):
            assert interval.lower_bound <= minimum + 1e-9 <= interval.value + 2e-9
        (after,), _ = _solved(way, plain, center, radii[:1], 1e-6, start=found[0].point)
        assert _reached(after, 1e-6)


def test_a_second_ctrl_c_is_raised():
    problem, center, radius = random_objective(squares, 3, interrupted_at=(3, 4))
    with pytest.raises(KeyboardInterrupt):
        solved(problem, center, [radius], 1e-9)


@each_way
def test_a_rough_search_is_mended_by_exact_evaluations(way):
    """As features in float32 are, whose bounds are evaluated through the model in float64."""
    problem, center, radius = _random(way, 4, noise=1e-5)
    (found,), _ = _solved(way, problem, center, [radius], 1e-6, most=400)
    minimum = minimum_in_ball(problem, center, radius)
    assert _reached(found, 1e-6)
    assert found.lower_bound - 1e-9 <= minimum <= found.value + 1e-9


def test_products_become_precise_once_rounding_holds_a_solve_up():
    problem, center, radius = random_objective(logistic, 4, noise=3.0)
    (found,), _ = solved(problem, center, [radius], 1e-8, most=400)
    precise = [request.precise for request in problem.seen if isinstance(request, Multiply)]
    assert _reached(found, 1e-8)
    assert precise == sorted(precise)
    assert precise[-1]
    assert not precise[0]


def test_a_search_on_images_takes_no_more_passes_than_dimensions():
    """Besides those for the start, for cutting planes, and for both ends."""
    problem, center, radius = random_objective(softmax, 3)
    (found,), budget = solved(problem, center, [radius], 1e-10, keeps_images=True)
    assert found.gap < 1e-9
    assert budget.num_passes <= len(center) + 7
    assert sum(isinstance(request, Extend) for request in problem.seen) <= len(center)


@pytest.mark.parametrize("keeps_images", [False, True])
def test_a_good_preconditioner_saves_passes(keeps_images):
    generator = np.random.default_rng(0)
    scales = 10.0 ** generator.uniform(-1.5, 0.5, 60)
    jacobian, labels = generator.normal(size=(200, 3, 60)) * scales, generator.integers(0, 3, 200)
    plain = MatrixObjective(jacobian, labels, softmax)
    quick = dataclasses.replace(plain, preconditioner=lambda r, s: r / (scales**2 / 5 + s))
    passes = []
    for problem in (plain, quick):
        (found,), budget = solved(problem, np.zeros(60), [3.0], 1e-4, keeps_images=keeps_images)
        assert _reached(found, 1e-4)
        passes.append(budget.num_passes)
    assert passes[1] < passes[0] / 1.5


def test_a_search_that_rounding_holds_up_ends():
    generator = np.random.default_rng(0)
    jacobian, labels = generator.normal(size=(60, 3, 120)), generator.integers(0, 3, 60)
    problem = MatrixObjective(jacobian, labels, softmax, noise=1e-3)
    (found,), budget = solved(problem, np.zeros(120), [1.0], 1e-9, 400, keeps_images=True)
    assert _reached(found, 0.01)
    assert budget.num_passes < 400


def test_a_bound_that_is_known_ends_a_solve_early():
    """Targets that are reached exactly: relative gaps mean nothing at a value of zero."""
    generator = np.random.default_rng(0)
    jacobian = generator.normal(size=(5, 1, 20))
    problem = MatrixObjective(jacobian, np.ones((5, 1)), squares)
    (found,), budget = solved(problem, np.zeros(20), [100.0], 1e-3, 300, least=0.0)
    assert found.lower_bound >= 0.0
    assert found.value < 1e-12
    assert budget.num_passes < 40
