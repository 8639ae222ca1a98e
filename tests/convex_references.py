"""Brackets of the minima of `convex_problems`, in extended precision, apart from the package.

Steps minimise the quadratic model of F over the ball, by Cholesky factors of the shifted Hessian
and Newton's method for the shift (Moré and Sorensen, Computing a trust region step, 1983). Losses
with kinks are replaced by those of a logarithmic barrier, narrower and narrower.

Both ends are evaluated: the upper one is F at a point of the ball, the lower one is the least value
over the ball of an affine function that is nowhere above F.
"""

import dataclasses
import itertools

import numpy as np
from convex_problems import Loss

# A bracket is tight if it is this narrow, relative to the minimum or to a share of F at the center.
TIGHT, SHARE = 1e-8, 1e-4
# What the steps aim at; they end where a few bring nothing.
AIM, MOST_STEPS, PATIENCE, SHORTEST = 1e-13, 300, 4, 2.0**-40
# Steps on a barrier end where F is to fall by this share of its width.
NEAR, REFINEMENTS = 1e-3, 4
ROUNDING = np.finfo(np.longdouble).eps
ROOM = 100 * ROUNDING


@dataclasses.dataclass(frozen=True)
class Bracket:
    """`lower <= minimum <= upper`, where `upper` is F at `point`."""

    lower: float
    upper: float
    point: np.ndarray
    scale: float

    @property
    def gap(self):
        return self.upper - self.lower

    @property
    def is_tight(self):
        """Whether the bracket is so narrow that solvers can be judged by it."""
        return bool(self.gap <= TIGHT * self.scale)


def reference_bounds(problem):
    """Returns the `Bracket` of a problem's minimum, of numbers in extended precision."""
    wide = problem.widened()
    best = _Best(wide)
    best.see(wide.center)
    if problem.is_smooth:
        _descend(wide, best)
    else:
        _descend_narrowing(wide, best)
    return Bracket(best.lower, best.upper, best.point, best.scale)


class _Best:
    """The best bounds of a problem seen so far. No loss is negative, so they begin at zero."""

    def __init__(self, problem):
        self._problem = problem
        self.lower, self.upper = np.longdouble(0), np.longdouble(np.inf)
        self.point, self._first = problem.center, problem.value(problem.center)

    def see(self, point):
        """Looks at F at a point and at its tangent there."""
        problem = self._problem
        value, gradient = problem.value(point), problem.gradient(point)
        if value < self.upper:
            self.upper, self.point = value, point
        self.see_affine(value - gradient @ (point - problem.center), gradient)

    def see_affine(self, at_center, gradient):
        """Looks at an affine function below F: its value at the center and its gradient."""
        fall = self._problem.radius * np.sqrt(gradient @ gradient)
        room = ROOM * (abs(at_center) + fall)
        self.lower = max(self.lower, at_center - fall - room)

    @property
    def scale(self):
        return max(self.upper, SHARE * self._first, np.finfo("float64").tiny)

    @property
    def gap(self):
        return self.upper - self.lower


def _descend(problem, best):
    idle, before = 0, np.inf
    for point, *_ in itertools.islice(_points(problem, problem.loss, problem.center), MOST_STEPS):
        best.see(point)
        idle = 0 if best.gap < 0.9 * before else idle + 1
        before = best.gap
        if best.gap <= AIM * best.scale or idle > PATIENCE:
            break


def _points(problem, loss, point):
    """Yields points of Newton steps on a smooth loss, and what models promised, and shifts."""
    shift, before = np.longdouble(0), None
    while not np.array_equal(point, before):
        before = point
        point, promised, shift = _stepped(problem, loss, point, shift)
        yield point, promised, shift


def _stepped(problem, loss, point, shift):
    """Returns the point after a Newton step, by how much F was to fall, and the Hessian's shift."""
    outputs, offset = problem.outputs(point), point - problem.center
    gradient = problem.matrix.T @ loss.slopes(outputs, problem.targets).ravel() / len(outputs)
    hessian = _hessian(problem, loss, outputs)
    move, shift = _minimised(hessian, gradient - hessian @ offset, problem.radius, shift)
    step = _inside(move, problem.radius) - offset
    promised = -(gradient @ step + step @ hessian @ step / 2)
    return _searched(problem, loss, point, step), promised, shift


def _hessian(problem, loss, outputs):
    examples, width = outputs.shape
    rows = problem.matrix.reshape(examples, width, -1)
    blocks = loss.blocks(outputs, problem.targets) / examples
    scaled = sum(blocks[:, :, k, None] * rows[:, k, None] for k in range(width))
    return problem.matrix.T @ scaled.reshape(problem.matrix.shape)


def _searched(problem, loss, point, direction):
    """Returns a point on the way along a direction where the loss is lower."""

    def value(at):
        return loss.losses(problem.outputs(at), problem.targets).sum()

    first, length = value(point), 1.0
    while length > SHORTEST:
        tried = point + length * direction
        if value(tried) < first:
            return tried
        length /= 2
    return point


def _minimised(hessian, slope, radius, shift):
    """Returns the minimiser of `w H w / 2 + slope w` over `||w|| <= radius`, and its shift."""
    least = max(ROUNDING * np.trace(hessian), np.finfo("float64").tiny)
    if not radius or not slope.any():
        return 0 * slope, least
    shift = max(shift, least)
    for _ in range(50):
        factor = _factored(hessian, shift)
        if factor is None:
            least = shift = 4 * shift
            continue
        move = -_solved(factor.T, _solved(factor, slope, False), True)
        length = np.sqrt(move @ move)
        inner = _solved(factor, move, False)
        change = (length / radius - 1) * length**2 / (inner @ inner)
        following = max(shift + change, least)
        if abs(following - shift) <= 1e-10 * shift:
            break
        shift = following
    return move, shift


def _factored(hessian, shift):
    """Returns the Cholesky factor of a matrix plus a shift; `None` if it is not positive."""
    rest, factor = hessian + shift * np.eye(len(hessian)), np.zeros_like(hessian)
    for i in range(len(rest)):
        if not rest[i, i] > 0:
            return None
        column = rest[i:, i] / np.sqrt(rest[i, i])
        factor[i:, i] = column
        rest[i:, i:] -= column[:, None] * column
    return factor


def _solved(triangle, vector, is_upper):
    """Returns the solution of a triangular system."""
    found, places = np.array(vector), range(len(vector))
    for i in reversed(places) if is_upper else places:
        found[i] /= triangle[i, i]
        others = slice(0, i) if is_upper else slice(i + 1, None)
        found[others] -= triangle[others, i] * found[i]
    return found


def _inside(move, radius):
    length = np.sqrt(move @ move)
    return move if length <= radius else move * (radius / length)


# Losses with kinks are `linear * r + |r|` of these residuals r, affine in the outputs.
KINKED = {
    "absolute": (lambda f, y: f - y, lambda y: 1 + 0 * y, 0),
    "hinge": (lambda f, y: (1 - y * f) / 2, lambda y: -y / 2, 1),
}


def _narrowed(kind, width):
    """Returns the `Loss` of a barrier: `|r|` is the least `t - width log(t^2 - r^2)`."""
    residuals, slope, linear = KINKED[kind]

    def root(f, y):
        r = residuals(f, y)
        return r, np.sqrt(width**2 + r**2)

    def losses(f, y):
        r, distance = root(f, y)
        t = width + distance
        return linear * r + t - width * np.log(2 * width * t)

    def slopes(f, y):
        r, distance = root(f, y)
        return (linear + r / (width + distance)) * slope(y)

    def blocks(f, y):
        _, distance = root(f, y)
        curvature = width / ((width + distance) * distance) * slope(y) ** 2
        return curvature[:, :, None] * np.eye(f.shape[1])

    return Loss(losses, slopes, blocks)


def _descend_narrowing(problem, best):
    residuals, _, _ = KINKED[problem.kind]
    at_center = problem.outputs(problem.center)
    reach = problem.radius * np.sqrt((problem.matrix**2).sum(axis=1).max())
    width = abs(residuals(at_center, problem.targets)).max() + reach
    point, narrowest = problem.center, max(width * 1e-14, np.finfo("float64").tiny)
    while width > narrowest and best.gap > 1e-11 * best.scale:
        loss = _narrowed(problem.kind, width)
        points = itertools.islice(_points(problem, loss, point), MOST_STEPS)
        for reached, promised, last_shift in points:
            point, shift = reached, last_shift
            if promised <= NEAR * width:
                break
        best.see(point)
        # Both losses are at least slope (f - y) for slopes that |r| has somewhere.
        slopes = _refined(problem, loss, point, shift) / len(at_center)
        least = np.sum(slopes * (at_center - problem.targets))
        best.see_affine(least, problem.matrix.T @ slopes.ravel())
        width /= 10


def _refined(problem, loss, point, shift):
    """Returns slopes near those at a point whose sum has the direction of the center.

    By Newton steps on the slopes themselves: those at the point are as imprecise as the residuals,
    divided by the width of the barrier.
    """
    outputs, matrix, offset = problem.outputs(point), problem.matrix, point - problem.center
    examples, y = len(outputs), problem.targets
    slopes = loss.slopes(outputs, y)
    curvature = np.einsum("nii->ni", loss.blocks(outputs, y))
    factor = _factored(_hessian(problem, loss, outputs), shift)
    is_inside = np.sqrt(offset @ offset) < (1 - 1e-9) * problem.radius
    pull = 0 if is_inside else shift
    for _ in range(REFINEMENTS if factor is not None else 0):
        rest = matrix.T @ slopes.ravel() / examples + pull * offset
        step = -_solved(factor.T, _solved(factor, rest, False), True)
        slopes = slopes + curvature * (matrix @ step).reshape(slopes.shape)
        offset = offset + step
    _, slope, linear = KINKED[problem.kind]
    return (linear + np.clip(slopes / slope(y) - linear, -1, 1)) * slope(y)
