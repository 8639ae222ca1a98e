"""Tests of minima over subspaces on problems with known answers."""

import numpy as np
import pytest
from objectives import minimum_in_ball, solved
from scipy import special

from keras_taylor.optimum import output_subspace
from keras_taylor.optimum.objective import OutputObjective
from keras_taylor.optimum.passes import Budget


class Softmax(OutputObjective):
    """Mean cross-entropy of three logits of each example, which are affine in the weights."""

    def __init__(self, jacobian, labels, preconditioner=None):
        self.jacobian, self.labels = jacobian, labels
        self.preconditioner, self.products = preconditioner, 0

    def over_first(self, horizon):
        return Softmax(self.jacobian[:horizon], self.labels[:horizon])

    def minimize(self, budget, *options):
        return output_subspace.minimize(self, budget, *options)

    def losses(self, point, check=False):
        raise AssertionError("a solve asks for no losses of rounds")

    def value_and_gradient(self, point):
        value, slopes = self.value_and_slopes(self.jacobian @ point)
        return value, np.tensordot(slopes, self.jacobian, 2)

    def curvature_product(self, point, vector):
        raise AssertionError("this way takes no curvature products")

    def outputs(self, point):
        self.products += 1
        return self.jacobian @ point + 1.0

    def moved(self, vector):
        self.products += 1
        return self.jacobian @ vector

    def pulled(self, slopes):
        self.products += 1
        return np.tensordot(slopes, self.jacobian, 2)

    def value_and_slopes(self, outputs):
        one_hot = np.eye(3)[self.labels]
        value = np.mean(special.logsumexp(outputs, 1) - np.sum(one_hot * outputs, 1))
        return value, (special.softmax(outputs, 1) - one_hot) / len(outputs)

    def curvature(self, outputs):
        p = special.softmax(outputs, 1)
        return (p[:, :, None] * (np.eye(3) - p[:, None, :])) / len(outputs)


def _random(seed, scale=1.0, **options):
    generator = np.random.default_rng(seed)
    size, examples = generator.integers(2, 30), generator.integers(3, 40)
    jacobian = scale * generator.normal(size=(examples, 3, size))
    labels = generator.integers(0, 3, examples)
    problem = Softmax(jacobian, labels, **options)
    return problem, generator.normal(size=size), 10.0 ** generator.uniform(-2, 0.5)


@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-6])
@pytest.mark.parametrize(("seed", "scale"), [*((seed, 1.0) for seed in range(6)), (0, 30.0)])
def test_interval_contains_the_minimum(seed, scale, tolerance):
    problem, center, radius = _random(seed, scale)
    (found,), budget = solved(problem, center, [radius], tolerance)
    minimum = minimum_in_ball(problem, center, radius)
    assert found.reached(tolerance)
    assert found.lower_bound <= minimum + 1e-9
    assert minimum <= found.value + 1e-9
    assert np.linalg.norm(found.point - center) <= radius * (1 + 1e-9)
    value, gradient = problem.value_and_gradient(found.point)
    assert found.value == pytest.approx(value)
    value, gradient = problem.value_and_gradient(found.lower_point)
    proved = value - gradient @ (found.lower_point - center) - radius * np.linalg.norm(gradient)
    assert found.lower_bound == pytest.approx(proved, abs=1e-12)
    # A pass is a product with J and one with its transpose.
    assert problem.products <= 2 * budget.taken


def test_it_takes_no_more_passes_than_there_are_dimensions():
    """And those for the start and for shared bounds."""
    problem, center, radius = _random(3)
    (found,), budget = solved(problem, center, [radius], 1e-12)
    assert found.gap < 1e-9
    assert budget.taken <= len(center) + 5


def test_passes_are_limited_and_each_end_is_true():
    problem, center, radius = _random(2)
    minimum = minimum_in_ball(problem, center, radius)
    for most in (1, 2, 3, 4, 5):
        (found,), budget = solved(problem, center, [radius], 1e-12, most)
        assert budget.taken <= most
        assert found.lower_bound <= minimum + 1e-9 <= found.value + 2e-9


@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_several_radii_share_the_subspace(offset):
    problem, center, _ = _random(4)
    radii = [0.5, 0.02, 3.0]
    found, budget = solved(problem, center, radii, 1e-6, warm_start=center + offset)
    alone = 0
    for radius, interval in zip(radii, found, strict=True):
        (expected,), single = solved(problem, center, [radius], 1e-6)
        np.testing.assert_allclose(interval.value, expected.value, rtol=3e-6)
        assert interval.reached(1e-6)
        assert np.linalg.norm(interval.point - center) <= radius * (1 + 1e-9)
        alone += single.taken
    assert budget.taken < alone


def test_each_of_several_radii_has_a_pass():
    problem, center, _ = _random(4)
    found, budget = solved(problem, center, [0.5, 0.02, 3.0], 1e-9, most=4)
    assert budget.taken <= 4
    assert all(np.isfinite(interval.gap) for interval in found)


def test_a_start_at_the_solution_takes_few_passes():
    problem, center, _ = _random(4)
    (found,), cold = solved(problem, center, [3.0], 1e-6)
    (again,), budget = solved(problem, center, [3.0], 1e-5, warm_start=found.point)
    assert budget.taken <= 3 < cold.taken
    assert again.value == pytest.approx(found.value, rel=1e-5)


def test_a_start_outside_of_the_ball_is_taken_into_it():
    problem, center, radius = _random(1)
    (found,), _ = solved(problem, center, [radius], 1e-6, warm_start=center + 100.0)
    assert found.reached(1e-6)
    assert np.linalg.norm(found.point - center) <= radius * (1 + 1e-9)


def test_a_good_preconditioner_saves_passes():
    generator = np.random.default_rng(0)
    scales = 10.0 ** generator.uniform(-1.5, 0.5, 60)
    jacobian, labels = generator.normal(size=(200, 3, 60)) * scales, generator.integers(0, 3, 200)
    center, options = np.zeros(60), ([3.0], 1e-4)
    (plain,), without = solved(Softmax(jacobian, labels), center, *options)
    quick = Softmax(jacobian, labels, lambda r, shift: r / (scales**2 / 5 + shift))
    (found,), budget = solved(quick, center, *options)
    assert plain.reached(1e-4)
    assert found.reached(1e-4)
    assert budget.taken < without.taken / 2


def test_the_end_is_told_while_it_is_sought():
    problem, center, _ = _random(4)
    seen = []
    budget = Budget(watch=lambda b: seen.append((b.taken, b.best, b.promised_gap)))
    problem.minimize(budget, center, [3.0], 1e-6, center)
    taken, best, promised = zip(*seen, strict=True)
    assert list(taken) == list(range(1, budget.taken + 1))
    assert best[-1].gap < best[1].gap
    assert promised[-1] < 1e-2 * promised[1]


class Noisy(Softmax):
    """The problem with errors in its gradient, of other signs at each pass."""

    def pulled(self, slopes):
        gradient, generator = super().pulled(slopes), np.random.default_rng(self.products)
        return gradient + 1e-3 * np.linalg.norm(gradient) * generator.normal(size=gradient.shape)


def test_a_solve_that_rounding_holds_up_ends():
    generator = np.random.default_rng(0)
    problem = Noisy(generator.normal(size=(60, 3, 120)), generator.integers(0, 3, 60))
    (found,), budget = solved(problem, np.zeros(120), [1.0], 1e-9)
    assert not found.reached(1e-9)
    assert found.reached(0.2)
    assert budget.taken < 119


class Interrupted(Softmax):
    """A problem in whose passes the user presses Ctrl-C, after some products."""

    left = 5

    def moved(self, vector):
        self._count()
        return super().moved(vector)

    def pulled(self, slopes):
        self._count()
        return super().pulled(slopes)

    def _count(self):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("left", range(1, 7))
def test_an_interrupted_solve_is_valid_and_can_go_on(left):
    plain, center, radius = _random(3)
    problem = Interrupted(plain.jacobian, plain.labels)
    problem.left = left
    found, budget = solved(problem, center, [radius, 2 * radius], 1e-9)
    assert budget.interrupted
    for interval, size in zip(found, (radius, 2 * radius), strict=True):
        minimum = minimum_in_ball(plain, center, size)
        assert interval.lower_bound <= minimum + 1e-9 <= interval.value + 2e-9
    (after,), _ = solved(plain, center, [radius], 1e-9, warm_start=found[0].point)
    assert after.reached(1e-9)


@pytest.mark.parametrize("left", [1, 2, 3])
def test_an_interrupt_before_the_start_was_looked_at_does_not_lose_it(left):
    plain, center, radius = _random(3)
    (found,), _ = solved(plain, center, [radius], 1e-6)
    problem = Interrupted(plain.jacobian, plain.labels)
    problem.left = left
    (again,), _ = solved(problem, center, [radius], 1e-9, warm_start=found.point)
    np.testing.assert_allclose(again.point, found.point, atol=1e-3 * radius)


def test_steps_of_no_length_are_not_searched():
    problem, center, radius = _random(0)
    evaluated, at = [], problem.value_and_slopes
    problem.value_and_slopes = lambda outputs: evaluated.append(1) or at(outputs)
    (found,), budget = solved(problem, center, [radius], 1e-6)
    assert found.reached(1e-6)
    # A search would evaluate each step as often as it is halved.
    assert len(evaluated) < 4 * budget.taken


def test_a_value_that_is_not_finite_is_no_claim():
    problem = Softmax(np.full((2, 3, 2), np.nan), np.array([0, 1]))
    (found,), _ = solved(problem, np.zeros(2), [1.0], 0.1)
    assert not found.reached(0.1)
    assert np.isnan(found.value)


def test_weights_without_influence_are_at_the_optimum():
    problem = Softmax(np.zeros((4, 3, 2)), np.array([0, 1, 2, 0]))
    (found,), budget = solved(problem, np.ones(2), [1.0], 1e-9)
    assert found.gap == 0.0
    assert budget.taken == 1
