"""Convex minimisation over a Euclidean ball, with a certificate: pure NumPy and SciPy.

`F(V) = (1/N) sum_n L^n(V)` is convex, so for any V in the ball of radius R about c, any U and the
gradient g at U

    F(U) - <g, U - c> - R ||g||  <=  min over the ball of F  <=  F(V).

For U = V the difference of the two ends is the Frank-Wolfe gap; another U often proves more (see
`keras_taylor.optimum.dual`). Each evaluation of F and g, or of a curvature
product, is one pass over the rounds. Steps are Newton steps: the quadratic model of F at V is
minimised over the ball in a growing subspace, where it is a trust-region problem of a few dozen
unknowns (see `keras_taylor.optimum.subspace`). For a quadratic F the model is F, one step is
enough, and one subspace answers all radii.

Sources: Frank and Wolfe, An algorithm for quadratic programming, 1956, for the gap; Jaggi,
Revisiting Frank-Wolfe, ICML 2013, for its use as a certificate. Steps here are not theirs.
"""

import dataclasses

import numpy as np

from keras_taylor.optimum.passes import OutOfPassesError
from keras_taylor.optimum.subspace import QuadraticModel
from keras_taylor.optimum.tolerance import allowed_gap

# What a model promises has to be a little better than what is asked for, because of rounding.
MARGIN = 0.9
# A Newton step leaves this share of the present gap to the next one.
MODEL_SHARE = 0.1
SHORTEST_MOVE = 2.0**-20
# A Newton step that leaves more than this share of the gap is held up by rounding, or by passes.
SLOW = 0.5


@dataclasses.dataclass
class Interval:
    """Where the minimum lies: between `lower_bound` and `value`, which is taken at `point`.

    `scale` is the size of the largest term of the certificate, which rounding is relative to, and
    `lower_point` the U that the lower bound comes from, `None` where there is none.
    """

    point: np.ndarray
    value: float
    lower_bound: float
    scale: float = 0.0
    lower_point: np.ndarray | None = None

    @property
    def gap(self):
        """The distance of the two ends."""
        return self.value - self.lower_bound

    def reached(self, tolerance):
        """Tells whether the gap is as small as a tolerance asks for."""
        return np.isfinite(self.gap) and self.gap <= allowed_gap(tolerance, self.value)

    def rounded(self, share, size=0.0):
        """Returns the interval with both ends moved outwards by what rounding may have done.

        An interval whose ends have crossed is wider by as much again on both sides.

        Args:
            share: The allowance, relative to the largest term of the certificate.
            size: A size that the allowance is also relative to, such as that of the losses.
        """
        if not np.isfinite(self.value):
            return self
        room = share * max(abs(self.value), self.scale, size) + max(0.0, -self.gap)
        return dataclasses.replace(
            self, value=self.value + room, lower_bound=self.lower_bound - room
        )


def minimize(passes, center, radii, tolerance, is_quadratic=False, warm_start=None, found=None):
    """Minimises F over balls about the same centre.

    Args:
        passes: A `keras_taylor.optimum.passes.Passes` of the objective.
        center: c, a float64 vector.
        radii: The radii R.
        tolerance: The gap to reach, relative to the value or `Absolute`.
        is_quadratic: Whether F is quadratic.
        warm_start: A point to start from, moved into the ball; by default c.
        found: What another, rougher objective found, its `Interval` for each radius: that is proved
            first, and steps go on from there where it is wider than the tolerance.

    Returns:
        An `Interval` for each radius, valid whether the tolerance is reached or the passes are used
        up.
    """
    starts = [(center if warm_start is None else warm_start, None)] * len(radii)
    if found is not None:
        starts = [(interval.point, interval.lower_point) for interval in found]
    elif is_quadratic and len(radii) > 1:
        starts = _points_of_one_model(passes, center, radii, tolerance, starts[0][0])
    goes_on = found is None and not is_quadratic
    solved, budget = {}, passes.budget
    for place, number in enumerate(np.argsort(radii), start=1):
        # One pass for each of the radii to come.
        budget.reserved += len(radii) - place
        solved[number] = _descended(
            passes, center, radii[number], tolerance, is_quadratic, *starts[number]
        )
        budget.reserved -= len(radii) - place
        if goes_on:
            starts = [(solved[number].point, None)] * len(radii)
    return [solved[number] for number in range(len(radii))]


def _points_of_one_model(passes, center, radii, tolerance, point):
    """Returns for each radius where the minimum is and where the highest lower bound is."""
    try:
        value, gradient = passes.value_and_gradient(point)
        model = QuadraticModel(passes, center, point, value, gradient)
        model.refine(radii, tolerance=MARGIN * tolerance, spare=2 * len(radii))
    except OutOfPassesError:
        return [(point, None)] * len(radii)
    except KeyboardInterrupt:
        passes.budget.interrupt()
        return [(point, None)] * len(radii)
    solutions = [model.solve(radius) for radius in radii]
    return [(solution.point, solution.dual_point) for solution in solutions]


def _descended(passes, center, radius, tolerance, is_quadratic, point, dual_point):
    """Returns the interval after Newton steps from a point, with the bound at another if given."""
    budget = passes.budget
    budget.best = best = Interval(inside(point, center, radius), np.inf, -np.inf)
    try:
        value, gradient = passes.value_and_gradient(best.point)
        if not np.isfinite(value):
            return Interval(best.point, value, -np.inf)
        best = certified(best.point, value, gradient, center, radius)
        if dual_point is not None:
            best = _lifted(passes, best, dual_point, center, radius, tolerance)
        while not best.reached(tolerance) and budget.has_left(1):
            budget.best = best
            model = QuadraticModel(passes, center, best.point, best.value, gradient)
            target = 0.0 if is_quadratic else MODEL_SHARE * best.gap
            # Passes to evaluate the points of the value and of the lower bound.
            model.refine([radius], target, MARGIN * tolerance, spare=2)
            solution, before = model.solve(radius), best
            point = inside(solution.point, center, radius)
            best, after_gradient = _searched(passes, before, point, center, radius)
            has_moved = best.point is not before.point
            gradient = after_gradient if has_moved else gradient
            if solution.lower_bound > best.lower_bound:
                best = _lifted(passes, best, solution.dual_point, center, radius, tolerance)
            is_slow = best.gap > SLOW * before.gap
            # What is left is rounding of the curvature products, or of F itself.
            if (is_slow or not has_moved) and not passes.sharpen() and not has_moved:
                return best
    except OutOfPassesError:
        pass
    except KeyboardInterrupt:
        budget.interrupt()
    return best


def inside(point, center, radius):
    """Returns a point moved into a ball, towards its centre."""
    offset = point - center
    length = np.linalg.norm(offset)
    return point if length <= radius else center + offset * (radius / length)


def certified(point, value, gradient, center, radius):
    """Returns the interval that a point, F and its gradient there prove."""
    along, across = gradient @ (point - center), radius * np.linalg.norm(gradient)
    is_finite = np.isfinite(value) and np.isfinite(along + across)
    lower = value - along - across if is_finite else -np.inf
    scale = abs(along) + across if is_finite else 0.0
    return Interval(point, value, lower, scale, point if is_finite else None)


def _lifted(passes, interval, point, center, radius, tolerance):
    """Returns the interval with the lower bound at another point, if it is not short enough."""
    if interval.reached(tolerance) or not passes.budget.has_left(1):
        return interval
    value, gradient = passes.value_and_gradient(point)
    return _raised(interval, certified(point, value, gradient, center, radius))


def _raised(interval, found):
    """Returns an interval with the lower bound of another one where that is higher."""
    scale = max(interval.scale, found.scale)
    is_higher = found.lower_bound > interval.lower_bound
    best = found if is_higher else interval
    return dataclasses.replace(
        interval, lower_bound=best.lower_bound, scale=scale, lower_point=best.lower_point
    )


def _searched(passes, best, point, center, radius):
    """Returns the interval after a move towards a point, halved until F does not rise."""
    # Along a move of no length F cannot fall: twenty passes would only say so.
    length = 1.0 if np.any(point != best.point) else 0.0
    while length >= SHORTEST_MOVE:
        tried = best.point + length * (point - best.point)
        try:
            value, gradient = passes.value_and_gradient(tried)
        except OutOfPassesError:
            break
        found = certified(tried, value, gradient, center, radius)
        best = _raised(best, found)
        if value < best.value:
            return dataclasses.replace(best, point=tried, value=value), gradient
        length /= 2
    return best, None
