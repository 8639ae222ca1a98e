"""A quadratic on a ball, minimised within a subspace that grows by one pass for each dimension.

In exact arithmetic, and started from the centre of the ball, the subspace is the Krylov space of
the curvature and the gradient there. It may also hold other directions: that of a point to start
from, so that what a former solve found is not lost, and, once a solve takes long, residuals turned
by a preconditioner.

Sources: Gould, Lucidi, Roma, Toint, Solving the trust-region subproblem using the Lanczos method,
SIAM J. Optim. 9 (1999), for the Krylov space and the trust-region problem within it; Davidson, The
iterative calculation of a few of the lowest eigenvalues, J. Comput. Phys. 17 (1975), for directions
that are preconditioned residuals. Different from the first, the basis is fully reorthogonalised and
its images under the curvature are kept, so that directions need not be Lanczos vectors; different
from the second, what is sought is a minimum over a ball and not an eigenvector.
"""

import dataclasses

import numpy as np
from scipy import linalg, optimize

from keras_taylor.optimum.basis import Rows, apart
from keras_taylor.optimum.dual import highest_bound
from keras_taylor.optimum.passes import OutOfPassesError
from keras_taylor.optimum.tolerance import allowed_gap


@dataclasses.dataclass
class Solution:
    """The minimiser within the subspace and the ball, and the point of the highest lower bound.

    Args:
        point: The minimiser V.
        value: The quadratic's value there.
        lower_bound: The highest lower bound over the whole ball, from the gradient at one point.
        dual_point: That point, which may be outside the ball.
        residual: The gradient at V plus the multiplier of the ball times `V - c`; orthogonal to
            the subspace.
        shift: The multiplier.
    """

    point: np.ndarray
    value: float
    lower_bound: float
    dual_point: np.ndarray
    residual: np.ndarray
    shift: float

    @property
    def gap(self):
        """The distance of the two ends."""
        return self.value - self.lower_bound


class QuadraticModel:
    """The second-order model of F at a point, `F + <g, V - at> + <V - at, A (V - at)> / 2`.

    Args:
        passes: A `keras_taylor.optimum.passes.Passes` of the objective.
        center: c, the centre of the balls.
        at: The point.
        value: F there.
        gradient: The gradient of F there.
    """

    def __init__(self, passes, center, at, value, gradient):
        self._passes, self._center, self._at = passes, center, at
        self._basis, self._curvature = Rows(center.size), np.zeros((0, 0))
        # The images of the basis under the curvature, which are `factor' across`.
        self._across, self._factor = Rows(center.size), np.zeros((0, 0))
        offset = at - center
        self.is_complete = False
        product = np.zeros_like(offset)
        if np.any(offset):
            self._add(offset)
            product = self._image([np.linalg.norm(offset)])
        # The quadratic seen from the centre.
        self._linear = gradient - product
        self._constant = value - gradient @ offset + product @ offset / 2

    def refine(self, radii, target=0.0, tolerance=0.0, spare=0):
        """Grows the subspace until the gap is small enough for each radius.

        Args:
            radii: The radii of the balls.
            target: A gap that is small enough.
            tolerance: A gap that is, relative to the value or `Absolute`.
            spare: Passes that are left for later.
        """
        budget = self._passes.budget
        while budget.has_left(spare + 1) and not self.is_complete:
            solutions = [self.solve(radius) for radius in radii]
            excesses = [s.gap - max(target, allowed_gap(tolerance, s.value)) for s in solutions]
            worst = int(np.argmax(excesses))
            budget.promised_gap = solutions[worst].gap
            if excesses[worst] <= 0:
                return
            try:
                self._add(self._direction(solutions[worst], radii[worst], spare))
            except OutOfPassesError:
                return

    def solve(self, radius):
        """Returns the `Solution` for a radius."""
        z, shift = trust_region(self._curvature, self._basis.rows @ self._linear, radius)
        inside = self._across.rows @ self._linear
        outside = np.linalg.norm(self._linear - self._across.rows.T @ inside)
        dual = highest_bound(self._curvature, self._factor, inside, outside, radius)
        value, _, offset, gradient = self._at_offset(z, radius)
        bounds = {self._at_offset(one, radius)[1]: one for one in (z, dual)}
        lower_bound = max(bounds)
        return Solution(
            point=self._center + offset,
            value=value,
            lower_bound=lower_bound,
            dual_point=self._center + self._basis.rows.T @ bounds[lower_bound],
            residual=gradient + shift * offset,
            shift=shift,
        )

    def _at_offset(self, z, radius):
        """Returns the value, the lower bound, the offset from c and the gradient at `c + B'z`."""
        offset, product = self._basis.rows.T @ z, self._image(z)
        gradient = self._linear + product
        value = float(self._constant + self._linear @ offset + product @ offset / 2)
        return value, lower_bound(value, gradient, offset, radius), offset, gradient

    def _image(self, z):
        """Returns the curvature times `B'z`."""
        return self._across.rows.T @ (self._factor @ z)

    def _direction(self, solution, radius, spare):
        """Returns where to look next: the residual, preconditioned where that is possible."""
        precondition = self._passes.preconditioner(spare)
        if precondition is None:
            return solution.residual
        # Where the ball does not bind, this is about the multiplier of one that would.
        least = np.linalg.norm(solution.residual) / radius
        return precondition(solution.residual, max(solution.shift, least))

    def _add(self, direction):
        _, vector, left = apart(direction, self._basis.rows)
        self.is_complete = not left or len(self._basis.rows) == len(direction)
        if not self.is_complete:
            image = self._passes.curvature_product(self._at, vector)
            inside, across, left = apart(image, self._across.rows)
            self._basis.append(vector)
            self._across.append(across)
            self._factor = np.block(
                [[self._factor, inside[:, None]], [np.zeros(len(inside)), left]]
            )
            # Symmetric but for rounding, of which each entry has the mean.
            products = self._basis.rows @ image, self._factor.T @ (self._across.rows @ vector)
            products = (products[0] + products[1]) / 2
            border = products[:-1, None]
            self._curvature = np.block([[self._curvature, border], [border.T, products[-1]]])


def lower_bound(value, gradient, offset, radius):
    """Returns `F(V) - <g, V - c> - R ||g||`, a lower bound of F over the ball about c."""
    return float(value - gradient @ offset - radius * np.linalg.norm(gradient))


def trust_region(curvature, linear, radius):
    """Minimises `linear z + z A z / 2` over vectors z of norm at most `radius`.

    Args:
        curvature: A, symmetric and, up to rounding, positive semidefinite, `(m, m)`.
        linear: A vector `(m,)`.
        radius: The radius.

    Returns:
        The z, and the multiplier s >= 0 of the ball: `(A + s) z = -linear`.
    """
    if not len(linear) or not radius:
        return np.zeros(len(linear)), 0.0
    values, vectors = linalg.eigh(curvature)
    values = np.maximum(values, 0.0)
    rotated = vectors.T @ linear
    floor = 1e-14 * max(values.max(), np.linalg.norm(linear) / radius, np.finfo(float).tiny)

    def point(shift):
        return -rotated / (values + shift)

    if np.linalg.norm(point(floor)) <= radius:
        return vectors @ point(floor), 0.0
    shift = optimize.brentq(
        lambda shift: 1 / radius - 1 / np.linalg.norm(point(shift)),
        floor,
        np.linalg.norm(rotated) / radius + floor,
        xtol=1e-15,
    )
    z = vectors @ point(shift)
    return z * min(1.0, radius / np.linalg.norm(z)), shift
