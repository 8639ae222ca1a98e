"""Minimisation of a convex F over balls about one centre, with certified bounds: a generator.

The solver yields the requests of `keras_taylor.optimum.requests` and is sent the answers. It does
no I/O and knows no TensorFlow. After each answer `results` has a valid interval for each radius.

For a quadratic F one model, seen from the centre, answers all radii. Other F are minimised in one
of two ways. If the images `J b` of all directions are kept, F is known within their span, and each
pass adds a direction. Else each Newton step has a quadratic model of its own.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from keras_taylor.optimum.certificate import (
    CUTTING_PLANE,
    FRANK_WOLFE,
    LOSS,
    Interval,
    certified,
    inside,
)
from keras_taylor.optimum.requests import (
    Evaluate,
    Extend,
    Multiply,
    OutOfPassesError,
    Prepare,
    Pull,
    Restrict,
)
from keras_taylor.optimum.subspace import ImageModel, QuadraticModel, trust_region

# A model has to promise a little more than is asked for, because of rounding.
MARGIN = 0.9
# A Newton step leaves this share of the gap to the next one.
MODEL_SHARE = 0.1
SHORTEST_STEP = 2.0**-20
# A step that leaves more than this share of the gap is held up by rounding, or by passes.
SLOW = 0.5
# A gap that is rounding, relative to the largest F seen: no steps can make it smaller.
ROUNDING = 2.0**-44
# Passes after which a preconditioner is worth the pass that makes it.
FEWEST_PASSES = 8
# Within a subspace F is minimised to this share of the gap that is allowed.
FLAT, MOST_STEPS = 1e-4, 50
# A solve on images whose gap shrank by less than a tenth in as many passes is held up by rounding.
PATIENCE, SLOW_IMAGES = 50, 0.9
# If a cutting-plane bound promised too much, the next one has to be better by this factor.
CAUTION = 0.9


@dataclasses.dataclass
class Problem:
    """What the solver knows of F.

    Args:
        center: c, the first recorded weights, a float64 vector.
        is_quadratic: Whether F is quadratic.
        keeps_images: Whether `Extend`, `Restrict` and `Pull` are answered.
        can_prepare: Whether `Prepare` is answered.
        can_be_precise: Whether `Multiply` has a more precise answer.
        width: The width of the smoothed loss to minimise, or 0 for the loss itself.
        least: A lower bound of F that is known of the loss, for example 0 of a squared error.
        preconditioner: A function of a residual r and a positive shift s that returns about
            `(curvature + s)^-1 r`, or `None`.
    """

    center: np.ndarray
    is_quadratic: bool = False
    keeps_images: bool = False
    can_prepare: bool = False
    can_be_precise: bool = False
    width: float = 0.0
    least: float = -np.inf
    preconditioner: Callable | None = None
    is_precise: bool = False


class Solver:
    """Minimises F over balls; each method is a generator of requests.

    Args:
        problem: The `Problem`.
        tolerance: The `keras_taylor.optimum.certificate.Tolerance` to reach.
        budget: The `keras_taylor.optimum.requests.Budget`.
        start: The point to start from.
        radii: The different radii R.
        images: The `Images` of an earlier solve of the same problem, or `None`.

    Attributes:
        results: `{radius: Interval}`, valid at any time.
    """

    def __init__(self, problem, tolerance, budget, start, radii, images=None):
        self._problem, self._tolerance, self._budget = problem, tolerance, budget
        self._center, self._start = problem.center, start
        self._latest, self._floor = None, 0.0
        self._images = images
        if images is None and problem.keeps_images and not problem.is_quadratic:
            self._images = Images(problem, budget, start)
        self._least = Interval(start, lower_bound=problem.least, bound=LOSS)
        self.results = {r: self._unknown(start, r) for r in sorted(radii)}

    def minimize(self):
        """Solves for all radii, the smallest first; ends early if the budget is used up."""
        starts = dict.fromkeys(self.results, (self._start, None, None))
        images = self._images
        if self._problem.is_quadratic:
            starts = yield from self._shared_model()
        for place, radius in enumerate(self.results, start=1):
            # One pass for each of the radii to come.
            later = len(self.results) - place
            self._budget.reserved += later
            start = starts[radius]
            if images is not None and radius:
                # Two passes to evaluate what is found.
                self._budget.reserved += 2
                note = functools.partial(self._note, radius)
                start = yield from images.search(radius, MARGIN * self._tolerance, note)
                self._budget.reserved -= 2
            yield from self._descend(radius, *start)
            self._budget.reserved -= later
            if images is None and not self._problem.is_quadratic:
                starts = dict.fromkeys(self.results, (self.results[radius].point, None, None))

    def _unknown(self, point, radius):
        """Returns the interval of a point at which F was not evaluated."""
        return Interval(inside(point, self._center, radius)).raised(self._least)

    def _certified(self, point, value, gradient, radius, bound=FRANK_WOLFE):
        found = certified(point, value, gradient, self._center, radius, bound)
        return found.raised(self._least)

    def _note(self, radius, point):
        self.results[radius] = self._unknown(point, radius)

    def _shared_model(self):
        """Returns for each radius the minimiser of one model, and the point of its bound."""
        radii, found = [radius for radius in self.results if radius], {}
        try:
            answer = yield from self._evaluate(self._start)
            if np.isfinite(answer[0]) and not self._is_reached(radii, *answer):
                model = QuadraticModel(self._center, self._start, *answer)
                yield from self._refine(model, radii, self._floor, spare=2 * len(radii))
                for radius in radii:
                    solution = model.solve(radius)
                    points = model.point(solution.z), model.point(solution.lower_z)
                    found[radius] = *points, solution.bound
        except OutOfPassesError:
            pass
        return dict.fromkeys(self.results, (self._start, None, None)) | found

    def _is_reached(self, radii, value, gradient):
        """Whether the start is good enough for each radius."""
        starts = [(inside(self._start, self._center, radius), radius) for radius in radii]
        return all(
            point is self._start
            and self._certified(point, value, gradient, radius).reached(self._tolerance)
            for point, radius in starts
        )

    def _evaluate(self, point):
        """Requests F and its gradient, unless the latest answer has them."""
        if self._latest is None or np.any(self._latest[0] != point):
            self._latest = point, (yield Evaluate(point, self._problem.width))
            # That of the largest value seen: the best one may be rounding itself.
            self._floor = np.fmax(self._floor, ROUNDING * abs(self._latest[1][0]))
        return self._latest[1]

    def _descend(self, radius, start, lower_point=None, bound=None):
        """Newton steps from a point, whose bound may be better at another point."""
        point = inside(start, self._center, radius)
        self.results[radius] = self._unknown(point, radius)
        try:
            value, gradient = yield from self._evaluate(point)
            self.results[radius] = self._certified(point, value, gradient, radius)
            if not np.isfinite(value):
                return
            if lower_point is not None:
                yield from self._lift(radius, lower_point, bound)
            while self._budget.has_left(1):
                best = self.results[radius]
                if best.reached(self._tolerance) or best.gap <= self._floor:
                    return
                gradient = yield from self._newton_step(radius, best, gradient)
                if gradient is None:
                    return
        except OutOfPassesError:
            pass

    def _newton_step(self, radius, best, gradient):
        """Returns the gradient at the best point after a step, `None` if none is possible."""
        model = QuadraticModel(self._center, best.point, best.value, gradient)
        target = self._floor if self._problem.is_quadratic else MODEL_SHARE * best.gap
        # Passes to evaluate the points of the value and of the lower bound.
        yield from self._refine(model, [radius], target, spare=2)
        if model.first_vector() is not None:
            raise OutOfPassesError
        solution = model.solve(radius)
        point = inside(model.point(solution.z), self._center, radius)
        after = yield from self._line_search(radius, best, point)
        if solution.lower_bound > self.results[radius].lower_bound:
            yield from self._lift(radius, model.point(solution.lower_z), solution.bound)
        is_slow = self.results[radius].gap > SLOW * best.gap
        problem = self._problem
        if is_slow or after is None:
            # What is left is rounding of the products, or of F itself.
            if after is None and (problem.is_precise or not problem.can_be_precise):
                return None
            problem.is_precise = problem.can_be_precise
        return gradient if after is None else after

    def _refine(self, model, radii, target, spare):
        """Grows the subspace of a model until its gap is small enough for each radius."""
        budget, tolerance = self._budget, MARGIN * self._tolerance
        try:
            if (vector := model.first_vector()) is not None:
                yield from self._extend(model, vector)
            while budget.has_left(spare + 1) and not model.is_complete:
                solutions = {radius: model.solve(radius) for radius in radii}
                gaps = {
                    radius: solution.value - max(solution.lower_bound, self._problem.least)
                    for radius, solution in solutions.items()
                }
                excess = {
                    radius: gap - max(target, tolerance.gap(solutions[radius].value))
                    for radius, gap in gaps.items()
                }
                worst = max(excess, key=excess.get)
                budget.promised_gap = gaps[worst]
                if excess[worst] <= 0:
                    return
                residual = model.residual(solutions[worst])
                shift = solutions[worst].shift
                direction = yield from self._direction(residual, shift, worst, spare)
                if (vector := model.next_vector(direction)) is None:
                    return
                yield from self._extend(model, vector)
        except OutOfPassesError:
            if model.first_vector() is not None:
                raise

    def _extend(self, model, vector):
        problem = self._problem
        image = yield Multiply(model.at, vector, problem.is_precise, problem.width)
        model.extend(vector, image)

    def _direction(self, residual, shift, radius, spare):
        """Returns where to look next: the residual, preconditioned if that is possible."""
        yield from prepare(self._problem, self._budget, spare)
        precondition = self._problem.preconditioner
        if precondition is None:
            return residual
        # If the ball does not bind, this is about the multiplier of one that would.
        return precondition(residual, max(shift, np.linalg.norm(residual) / radius))

    def _lift(self, radius, point, bound):
        """Evaluates the lower bound at a point, unless the interval is short enough."""
        if not self.results[radius].reached(self._tolerance) and self._budget.has_left(1):
            value, gradient = yield from self._evaluate(point)
            found = self._certified(point, value, gradient, radius, bound)
            self.results[radius] = self.results[radius].raised(found)

    def _line_search(self, radius, best, point):
        """Moves towards a point, by halves until F falls; returns the gradient there or `None`."""
        # Along a step of no length F cannot fall: twenty passes would only say so.
        length = 1.0 if np.any(point != best.point) else 0.0
        while length >= SHORTEST_STEP:
            tried = best.point + length * (point - best.point)
            value, gradient = yield from self._evaluate(tried)
            found = self._certified(tried, value, gradient, radius)
            best = self.results[radius] = best.raised(found)
            if value < best.value:
                self.results[radius] = dataclasses.replace(best, point=tried, value=value)
                return gradient
            length /= 2
        return None


def prepare(problem, budget, spare):
    """Requests a preconditioner once a solve has taken some passes and has enough left."""
    is_due = problem.preconditioner is None and budget.num_passes >= FEWEST_PASSES
    if problem.can_prepare and is_due and budget.has_left(spare + 2):
        problem.preconditioner = yield Prepare()


class Images:
    """F within the span of all directions, from their images, and the bounds of its tangents."""

    def __init__(self, problem, budget, start):
        self._problem, self._budget, self._start = problem, budget, start
        self._model, self._z = ImageModel(problem.center), np.zeros(0)
        self._value, self._shift, self._residual = np.inf, 0.0, None

    def search(self, radius, tolerance, note):
        """Adds directions until the gap is small enough, or does not shrink any more.

        Args:
            radius: R.
            tolerance: The `Tolerance` to reach.
            note: Called with the best point after each pass.

        Returns:
            The minimiser, and the point and the name of the highest bound.
        """
        try:
            yield from self._look(radius, tolerance)
            gaps, caution = [], 1.0
            while np.isfinite(self._value) and self._budget.has_left(1):
                note(self._point(self._z))
                single = max(self._tangents.highest_single(radius)[0], self._problem.least)
                shared, average = self._tangents.highest(radius)
                gap = self._budget.promised_gap = self._value - max(shared, single)
                gaps.append(gap)
                is_slow = len(gaps) > PATIENCE and gap > SLOW_IMAGES * gaps[-1 - PATIENCE]
                allowed = tolerance.gap(self._value)
                if is_slow or self._value - single <= allowed:
                    break
                if gap <= caution * allowed:
                    caution *= CAUTION
                    self._model.add_tangent(average, *(yield Pull(average, self._problem.width)))
                elif (vector := (yield from self._next_vector(radius))) is None:
                    break
                else:
                    yield Extend(vector)
                    self._model.extend(vector)
                    self._z = np.append(self._z, 0.0)
                    yield from self._look(radius, tolerance)
        except OutOfPassesError:
            pass
        if self._residual is None:
            return self._start, None, None
        _, lower = self._tangents.highest_single(radius)
        return self._point(self._z), self._point(lower), CUTTING_PLANE

    @property
    def _tangents(self):
        return self._model.tangents

    def _point(self, z):
        return self._problem.center + self._model.offset(z)

    def _next_vector(self, radius):
        """Returns a unit vector to look along next, or `None` if there is none."""
        if not self._model.size and np.any(self._start != self._problem.center):
            return self._model.next_vector(self._start - self._problem.center)
        yield from prepare(self._problem, self._budget, spare=1)
        precondition = self._problem.preconditioner
        if precondition is not None:
            # If the ball does not bind, this is about the multiplier of one that would.
            least = np.linalg.norm(self._residual) / radius
            direction = precondition(self._residual, max(self._shift, least))
            if (vector := self._model.next_vector(direction)) is not None:
                return vector
        return self._model.next_vector(self._residual)

    def _look(self, radius, tolerance):
        """Goes to the minimum within the subspace and the ball, and to the gradient there."""
        yield from self._settle(radius, tolerance)
        self._value, gradient = yield Pull(self._z, self._problem.width)
        self._model.add_tangent(self._z, self._value, gradient)
        self._residual = gradient + self._shift * self._model.offset(self._z)

    def _settle(self, radius, tolerance):
        """Goes to the minimum by Newton steps, which take no pass."""
        z, self._shift = inside(self._z, np.zeros_like(self._z), radius), 0.0
        found = (yield Restrict(z, self._problem.width)) if len(z) else None
        for _ in range(MOST_STEPS if len(z) else 0):
            value, slope, curvature = found
            target, self._shift = trust_region(curvature, slope - curvature @ z, radius)
            step = target - z
            promised = -(slope @ step + step @ curvature @ step / 2)
            # Along a step of no length F cannot fall.
            is_rounding = promised <= np.finfo(float).eps * abs(value)
            shorter = None if is_rounding else (yield from self._shortened(z, step, value))
            if shorter is None:
                break
            z, found = shorter
            if promised <= FLAT * tolerance.gap(value):
                break
        self._z = z

    def _shortened(self, z, step, value):
        """Returns z and F there after a step, halved until F falls; `None` if it does not."""
        length = 1.0
        while length >= SHORTEST_STEP:
            found = yield Restrict(z + length * step, self._problem.width)
            if found[0] < value:
                return z + length * step, found
            length /= 2
        return None
