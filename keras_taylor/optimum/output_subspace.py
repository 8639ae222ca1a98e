"""Convex minimisation over balls where outputs are affine in the weights: pure NumPy and SciPy.

    F(V) = f(T(V)),    T(V) = T(c) + J (V - c).

The images `J b` of the vectors of a basis are kept. So f is known within the whole subspace without
a pass, and is minimised there, over the ball, as a problem of a few dozen unknowns. A product with
J' then gives the gradient, from which follow a lower bound and the next vector, and a product with
J the vector's image: one pass for each dimension. Newton steps in the weights, in contrast, take
new passes whenever the curvature has changed, and lose those of a step that is too long.

Sources: Narkiss and Zibulevsky, Sequential subspace optimization method for large-scale
unconstrained problems, Technion CCIT 559 (2005). Different from theirs, all former directions are
kept, steps are in a ball, and the end is proved.
"""

import numpy as np

from keras_taylor.optimum.ball import Interval, inside
from keras_taylor.optimum.basis import Rows, apart
from keras_taylor.optimum.cuts import Cuts
from keras_taylor.optimum.passes import OutOfPassesError, Passes
from keras_taylor.optimum.subspace import trust_region
from keras_taylor.optimum.tolerance import allowed_gap

# Within the subspace F is minimised to this share of the gap that is allowed.
FLAT = 1e-4
MOST_STEPS, SHORTEST_MOVE = 50, 2.0**-30
# A solve whose gap has not shrunk by a tenth in so many passes is held up by rounding.
PATIENCE, SLOW = 50, 0.9
# Where a shared bound has promised too much, the next one has to be better by this factor.
CAUTION = 0.9


def minimize(objective, budget, center, radii, tolerance, warm_start):
    """Minimises F over balls about the same centre.

    Args:
        objective: A `keras_taylor.optimum.objective.OutputObjective`.
        budget: A `keras_taylor.optimum.passes.Budget`.
        center: c, a float64 vector.
        radii: The radii R.
        tolerance: The gap to reach, relative to the value or `Absolute`.
        warm_start: A point, the direction of which is the first that is looked at.

    Returns:
        A `keras_taylor.optimum.ball.Interval` for each radius, valid whether the tolerance is
        reached or the passes are used up.
    """
    search, solved = _Search(objective, budget, center, warm_start), {}
    for place, number in enumerate(np.argsort(radii), start=1):
        # One pass for each of the radii to come.
        budget.reserved += len(radii) - place
        solved[number] = search.solve(radii[number], tolerance)
        budget.reserved -= len(radii) - place
    return [solved[number] for number in range(len(radii))]


class _Search:
    """What a solve knows: the subspace `c + B'z`, the outputs of its basis, tangents of F.

    Args:
        objective: The `OutputObjective`.
        budget: The `Budget`.
        center: c.
        warm_start: The point to start from.
    """

    def __init__(self, objective, budget, center, warm_start):
        self._objective, self._budget = objective, budget
        self._center, self._warm_start = center, warm_start
        self._basis, self._images = Rows(center.size), None
        self._cuts, self._z = Cuts(), np.zeros(0)
        self._shape, self._at_center = None, None
        self._value, self._shift = np.inf, 0.0
        self._residual = None

    def solve(self, radius, tolerance):
        """Returns the `Interval` of one radius."""
        budget = self._budget
        try:
            if self._images is None:
                budget.take(self._begin)
            if np.isfinite(self._value):
                self._descend(radius, tolerance)
        except OutOfPassesError:
            pass
        except KeyboardInterrupt:
            budget.interrupt()
        return self._interval(radius)

    def _begin(self):
        outputs = self._objective.outputs(self._center)
        self._shape, self._at_center = outputs.shape, outputs.ravel()
        self._images = Rows(outputs.size)
        self._look(0.0, 0.0)

    def _descend(self, radius, tolerance):
        """Adds dimensions until the gap is small enough, or does not shrink any more."""
        budget, gaps, caution = self._budget, [], 1.0
        if len(self._z):
            budget.take(self._look, radius, tolerance)
        while True:
            budget.best = best = self._interval(radius)
            if best.reached(tolerance) or not budget.has_left(1):
                return
            shared, average = self._cuts.highest_shared(radius)
            budget.promised_gap = gap = self._value - max(shared, best.lower_bound)
            gaps.append(gap)
            if len(gaps) > PATIENCE and gap > SLOW * gaps[-1 - PATIENCE]:
                return
            if gap <= caution * allowed_gap(tolerance, self._value):
                caution *= CAUTION
                budget.take(self._cut_at, average)
            elif (vector := self._next_vector(radius)) is None:
                return
            else:
                budget.take(self._grow, vector, radius, tolerance)

    def _next_vector(self, radius):
        """Returns a unit vector apart from the basis to look along; `None` where there is none."""
        if len(self._z) < self._center.size:
            for direction in self._directions(radius):
                _, vector, left = apart(direction, self._basis.rows)
                if left and np.isfinite(left):
                    return vector
        return None

    def _directions(self, radius):
        """Yields where to look next, the best first."""
        if not len(self._z) and np.any(self._warm_start != self._center):
            yield self._warm_start - self._center
        precondition = Passes(self._objective, self._budget).preconditioner(spare=1)
        if precondition is not None:
            # Where the ball does not bind, this is about the multiplier of one that would.
            least = np.linalg.norm(self._residual) / radius
            yield precondition(self._residual, max(self._shift, least))
        yield self._residual

    def _grow(self, vector, radius, tolerance):
        """Adds a unit vector to the basis."""
        image = self._objective.moved(vector)
        self._basis.append(vector)
        self._images.append(image.ravel())
        self._z = np.append(self._z, 0.0)
        self._look(radius, tolerance)

    def _look(self, radius, tolerance):
        """Goes to the minimum within the subspace, and to the gradient there."""
        slopes = self._settle(radius, tolerance)
        gradient = self._add_cut(self._z, self._value, slopes)
        offset = self._basis.rows[: len(self._z)].T @ self._z
        self._residual = gradient + self._shift * offset

    def _cut_at(self, z):
        self._add_cut(z, *self._at(z))

    def _add_cut(self, z, value, slopes):
        gradient = self._objective.pulled(slopes)
        along = gradient @ (self._basis.rows[: len(z)].T @ z)
        self._cuts.add(z, value - along, gradient)
        return gradient

    def _at(self, z):
        """Returns F and its slopes in the outputs at `c + B'z`."""
        return self._objective.value_and_slopes(self._outputs(z))

    def _outputs(self, z):
        return (self._at_center + z @ self._images.rows[: len(z)]).reshape(self._shape)

    def _settle(self, radius, tolerance):
        """Goes to the minimum in the subspace and the ball by Newton steps, which take no pass.

        Returns:
            The slopes there.
        """
        z, self._shift = inside(self._z, np.zeros_like(self._z), radius), 0.0
        value, slopes = self._at(z)
        for _ in range(MOST_STEPS if len(z) else 0):
            linear, curvature = self._quadratic(z, slopes)
            target, self._shift = trust_region(curvature, linear - curvature @ z, radius)
            step = target - z
            promised = -(linear @ step + step @ curvature @ step / 2)
            # Along a step of no length F cannot fall.
            is_rounding = promised <= np.finfo(float).eps * abs(value)
            found = None if is_rounding else self._shortened(z, step, value)
            if found is None:
                break
            z, value, slopes = found
            if promised <= FLAT * allowed_gap(tolerance, value):
                break
        self._z, self._value = z, value
        return slopes

    def _shortened(self, z, step, value):
        """Returns z, F and slopes after a step, halved until F falls; `None` where it does not."""
        length = 1.0
        while length >= SHORTEST_MOVE:
            after = z + length * step
            found, slopes = self._at(after)
            if found < value:
                return after, found, slopes
            length /= 2
        return None

    def _quadratic(self, z, slopes):
        """Returns gradient and Hessian of F in z."""
        images = self._images.rows[: len(z)]
        blocks = self._objective.curvature(self._outputs(z))
        curved = np.einsum("mnk,nkl->mnl", images.reshape(-1, *self._shape), blocks)
        return images @ slopes.ravel(), curved.reshape(images.shape) @ images.T

    def _interval(self, radius):
        is_known = np.isfinite(self._value) and len(self._cuts)
        if not is_known or not (len(self._z) or np.all(self._warm_start == self._center)):
            # What the warm start is worth was not seen.
            value = np.inf if np.isfinite(self._value) else self._value
            return Interval(inside(self._warm_start, self._center, radius), value, -np.inf)
        lower, z, scale = self._cuts.highest(radius)
        point = inside(self._point(self._z), self._center, radius)
        return Interval(point, self._value, lower, scale, self._point(z))

    def _point(self, z):
        return self._center + self._basis.rows[: len(z)].T @ z
