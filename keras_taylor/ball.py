"""Convex minimisation over a Euclidean ball, with a certificate: pure NumPy and SciPy.

`F(V) = (1/N) sum_n L^n(V)` is convex, so for any V in the ball of radius R about c and gradient g

    F(V) - <g, V - c> - R ||g||  <=  min over the ball of F  <=  F(V).

Each evaluation of F and g, or of a curvature product, is one pass over the rounds. Steps are Newton
steps: the quadratic model at V is minimised over the ball in the Krylov space that its curvature
spans from its gradient at c (Lanczos with full reorthogonalisation), where it is a trust-region
problem of a few dozen unknowns. For a quadratic F the model is F and one step is enough.
"""

import dataclasses

import numpy as np
from scipy import linalg, optimize

# What a model promises has to be a little better than what is asked for, for rounding's sake.
MARGIN = 0.9
# A Newton step leaves this share of the present gap to the next one.
MODEL_SHARE = 0.1
SHORTEST_STEP = 2.0**-20


@dataclasses.dataclass
class Interval:
    """Where the minimum lies: between `lower_bound` and `value`, which is taken at `point`."""

    point: np.ndarray
    value: float
    lower_bound: float

    @property
    def gap(self):
        """How far the two are apart."""
        return self.value - self.lower_bound

    def reached(self, tolerance):
        """Tells whether the gap is at most a share of the value's size."""
        return self.gap <= tolerance * abs(self.value)


class Passes:
    """Counts the passes of a problem, and stops at the most that are allowed.

    Args:
        problem: Has `value_and_gradient(v)` and `curvature(v, p)` of float64 vectors.
        most: The most passes, or `None`.
        watch: Function of the number of passes, called after each.
    """

    def __init__(self, problem, most=None, watch=lambda count: None):
        self._problem, self._most, self._watch = problem, most, watch
        self.count = 0

    def value_and_gradient(self, v):
        """Returns F and its gradient."""
        self._advance()
        return self._problem.value_and_gradient(v)

    def curvature(self, v, p):
        """Returns the Hessian of F at v times p."""
        self._advance()
        return self._problem.curvature(v, p)

    @property
    def left(self):
        """How many passes are left; `None` where there is no limit."""
        return None if self._most is None else self._most - self.count

    def _advance(self):
        if self._most is not None and self.count >= self._most:
            raise OutOfPassesError
        self.count += 1
        self._watch(self.count)


class OutOfPassesError(Exception):
    """No pass is left."""


def minimize(passes, center, radius, tolerance, is_quadratic=False, start=None):
    """Minimises F over a ball.

    Args:
        passes: A `Passes` of the problem.
        center: c, a float64 vector.
        radius: R.
        tolerance: The gap to reach, relative to the value.
        is_quadratic: Whether F is quadratic.
        start: A point of the ball to start from; defaults to c.

    Returns:
        An `Interval`, valid whether the tolerance is reached or the passes are used up.
    """
    best = Interval(center if start is None else start, np.inf, -np.inf)
    try:
        value, gradient = passes.value_and_gradient(best.point)
        best = Interval(best.point, value, _bound(best.point, value, gradient, center, radius))
        while not best.reached(tolerance):
            share = 0.0 if is_quadratic else MODEL_SHARE
            step = _newton_point(
                passes, center, radius, best, gradient, share * best.gap, MARGIN * tolerance
            )
            after, gradient = _searched(passes, best, step, center, radius)
            if after.point is best.point:
                break
            best = after
    except OutOfPassesError:
        pass
    return best


def _bound(point, value, gradient, center, radius):
    return value - gradient @ (point - center) - radius * np.linalg.norm(gradient)


def _searched(passes, best, point, center, radius):
    """Returns the interval after a step towards a point, halved until F does not rise."""
    length, lower = 1.0, best.lower_bound
    while length >= SHORTEST_STEP:
        tried = best.point + length * (point - best.point)
        value, gradient = passes.value_and_gradient(tried)
        lower = max(lower, _bound(tried, value, gradient, center, radius))
        if value < best.value:
            return Interval(tried, value, lower), gradient
        length /= 2
    return Interval(best.point, best.value, lower), None


def _newton_point(passes, center, radius, at, gradient, target, tolerance):
    """Returns the point of the ball that minimises the quadratic model of F at a point.

    It does so to a gap of `target`, or of `tolerance` relative to the model's value.
    """
    offset = at.point - center
    bent = passes.curvature(at.point, offset) if np.any(offset) else np.zeros_like(offset)
    value = at.value - gradient @ offset + bent @ offset / 2
    krylov = Krylov(lambda p: passes.curvature(at.point, p), gradient - bent)
    while True:
        krylov.extend()
        coordinates, change, gap = krylov.solve(radius)
        is_close = gap <= max(target, tolerance * abs(value + change))
        # The last pass is kept to evaluate the point, without which it would be worth nothing.
        if is_close or krylov.is_complete or passes.left == 1:
            return center + krylov.combine(coordinates)


class Krylov:
    """The space that a symmetric map spans from a vector, and the map within it.

    Args:
        apply: The map, positive semidefinite.
        start: The vector, the gradient of a quadratic at the centre of the ball.
    """

    def __init__(self, apply, start):
        self._apply = apply
        self._scale = np.linalg.norm(start)
        self._next = start / self._scale if self._scale else start
        self._basis, self._diagonal, self._off = [], [], []
        self.is_complete = self._scale == 0

    def extend(self):
        """Adds a dimension, for one application of the map."""
        if self.is_complete:
            return
        self._basis.append(self._next)
        image = self._apply(self._next)
        self._diagonal.append(float(self._next @ image))
        rows = np.asarray(self._basis)
        for _ in range(2):
            image = image - rows.T @ (rows @ image)
        norm = float(np.linalg.norm(image))
        self._off.append(norm)
        self.is_complete = norm <= 1e-12 * max(map(abs, self._diagonal))
        self._next = image / norm if norm else image

    def solve(self, radius):
        """Returns the minimiser's coordinates within the ball, its change of F, and the gap."""
        if not self._basis:
            return np.zeros(0), 0.0, 0.0
        diagonal, off = np.asarray(self._diagonal), np.asarray(self._off)
        linear = np.zeros(len(diagonal))
        linear[0] = self._scale
        coordinates = trust_region(diagonal, off[:-1], linear, radius)
        image = _tridiagonal_product(diagonal, off[:-1], coordinates)
        inside = linear + image
        change = float(linear @ coordinates + coordinates @ image / 2)
        outside = off[-1] * coordinates[-1]
        norm = np.hypot(np.linalg.norm(inside), outside)
        return coordinates, change, float(inside @ coordinates + radius * norm)

    def combine(self, coordinates):
        """Returns the vector with these coordinates."""
        return np.asarray(self._basis).T @ coordinates if len(coordinates) else 0.0 * self._next


def trust_region(diagonal, off_diagonal, linear, radius):
    """Returns the z of norm at most `radius` that minimises `linear z + z T z / 2`.

    Args:
        diagonal: Diagonal of the tridiagonal, positive semidefinite T.
        off_diagonal: What is beside it.
        linear: A vector.
        radius: The radius.
    """
    values, vectors = linalg.eigh_tridiagonal(diagonal, off_diagonal)
    values = np.maximum(values, 0.0)
    rotated = vectors.T @ linear
    floor = 1e-14 * max(values.max(), np.finfo(float).tiny)

    def point(shift):
        return -rotated / (values + shift)

    if np.linalg.norm(point(floor)) <= radius:
        return vectors @ point(floor)
    most = np.linalg.norm(rotated) / radius
    shift = optimize.brentq(
        lambda shift: 1 / radius - 1 / np.linalg.norm(point(shift)), floor, most + floor, xtol=1e-15
    )
    z = vectors @ point(shift)
    return z * min(1.0, radius / np.linalg.norm(z))


def _tridiagonal_product(diagonal, off_diagonal, z):
    product = diagonal * z
    product[:-1] += off_diagonal * z[1:]
    product[1:] += off_diagonal * z[:-1]
    return product
