"""Growing subspaces of the weights, and F or its quadratic model within them: NumPy and SciPy only.

In exact arithmetic and from the centre of the ball, the subspace of residuals is the Krylov space
of the curvature and the gradient. It may also hold other directions: that of a point to start from,
and preconditioned residuals.

Sources: Gould, Lucidi, Roma, Toint, Solving the trust-region subproblem using the Lanczos method,
SIAM J. Optim. 9 (1999); Davidson, The iterative calculation of a few of the lowest eigenvalues, J.
Comput. Phys. 17 (1975), for preconditioned residuals; Narkiss and Zibulevsky, Sequential subspace
optimization, Technion CCIT 559 (2005). Different from the first, the basis is fully
reorthogonalised and its images are kept; from the second, a minimum over a ball is sought; from the
third, all former directions are kept and the end is certified.
"""

import dataclasses

import numpy as np
from scipy import linalg, optimize

from keras_taylor.optimum import certificate

# The length, relative to a direction, below which the part outside of a basis is rounding.
NEGLIGIBLE = 1e-10


def split(vector, rows):
    """Splits a vector into its products with orthonormal rows and a unit vector orthogonal to them.

    Returns:
        The products, the unit vector, and its length in the vector: 0, with a vector of zeros, if
        that is rounding.
    """
    length, products = np.linalg.norm(vector), np.zeros(len(rows))
    for _ in range(2):
        more = rows @ vector
        products, vector = products + more, vector - rows.T @ more
    left = np.linalg.norm(vector)
    if not left > NEGLIGIBLE * length:
        return products, np.zeros_like(vector), 0.0
    return products, vector / left, left


class Rows:
    """A growing list of vectors as the rows of a matrix, whose memory doubles when it is full."""

    def __init__(self, length):
        self._kept, self._count = np.empty((8, length)), 0

    @property
    def rows(self):
        """The matrix `(rows, length)`."""
        return self._kept[: self._count]

    def append(self, row):
        """Adds a row."""
        if self._count == len(self._kept):
            kept, self._kept = self._kept, np.empty((2 * len(self._kept), len(row)))
            self._kept[: self._count] = kept
        self._kept[self._count] = row
        self._count += 1


def trust_region(curvature, linear, radius):
    """Minimises `<linear, z> + z'Az / 2` over vectors z of norm at most `radius`.

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


@dataclasses.dataclass(frozen=True)
class Solution:
    """The minimum of a `QuadraticModel` within its subspace and a ball.

    Args:
        z: The minimiser, in the subspace.
        value: The quadratic there.
        lower_bound: The highest Frank-Wolfe bound over the whole ball, at one of two points.
        lower_z: That point: the minimiser or the dual point, which may be outside of the ball.
        bound: The name of the bound.
        shift: The multiplier of the ball.
    """

    z: np.ndarray
    value: float
    lower_bound: float
    lower_z: np.ndarray
    bound: str
    shift: float


class QuadraticModel:
    """The second-order model of F at a point U, `F + <g, V - U> + <V - U, A (V - U)> / 2`.

    Unless U is the centre, the first vector to add is `(U - c) / ||U - c||`, by whose image the
    model is seen from the centre, `F(c + v) = constant + <l, v> + <v, A v> / 2`.

    Args:
        center: c, the centre of the balls.
        at: U.
        value: F at U.
        gradient: The gradient of F at U.

    Attributes:
        at: U.
    """

    def __init__(self, center, at, value, gradient):
        self.at, self._center, self._offset = at, center, at - center
        self._value, self._gradient = value, gradient
        self._basis, self._curvature = Rows(center.size), np.zeros((0, 0))
        # The images of the basis under A, which are `factor' across`.
        self._across, self._factor = Rows(center.size), np.zeros((0, 0))
        self._linear = self._outside = None
        # Products of l with basis and across; `outside` is what across lacks of l.
        self._along, self._inside = np.zeros(0), np.zeros(0)
        if not self._offset.any():
            self._see_from_center(np.zeros_like(gradient))

    @property
    def is_complete(self):
        """Whether the subspace is the whole space."""
        return len(self._curvature) == self._center.size

    def first_vector(self):
        """Returns the vector that has to be added first, or `None`."""
        return self._offset / np.linalg.norm(self._offset) if self._linear is None else None

    def next_vector(self, direction):
        """Returns the unit vector that a direction adds, or `None` if that is rounding."""
        _, vector, left = split(direction, self._basis.rows)
        return vector if left and np.isfinite(left) else None

    def extend(self, vector, image):
        """Adds a unit vector orthogonal to the basis, with its image under A."""
        inside, across, left = split(image, self._across.rows)
        self._basis.append(vector)
        self._across.append(across)
        self._factor = np.block([[self._factor, inside[:, None]], [np.zeros(len(inside)), left]])
        # Symmetric but for rounding, of which each entry has the mean.
        products = self._basis.rows @ image, self._factor.T @ (self._across.rows @ vector)
        products = (products[0] + products[1]) / 2
        border = products[:-1, None]
        self._curvature = np.block([[self._curvature, border], [border.T, products[-1]]])
        if self._linear is None:
            self._see_from_center(image * np.linalg.norm(self._offset))
        self._along = np.append(self._along, vector @ self._linear)
        self._inside = np.append(self._inside, across @ self._outside)
        self._outside = self._outside - self._inside[-1] * across

    def _see_from_center(self, product):
        self._linear = self._outside = self._gradient - product
        self._constant = self._value - (self._gradient - product / 2) @ self._offset

    def solve(self, radius):
        """Returns the `Solution` for a radius."""
        z, shift = trust_region(self._curvature, self._along, radius)
        outside = np.linalg.norm(self._outside)
        dual = certificate.dual_point(self._curvature, self._factor, self._inside, outside, radius)
        bounds = [
            (self._lower_bound(z, radius, outside), z, certificate.FRANK_WOLFE),
            (self._lower_bound(dual, radius, outside), dual, certificate.DUAL),
        ]
        lower_bound, lower_z, bound = max(bounds, key=lambda each: each[0])
        value = float(self._constant + (self._along + self._curvature @ z / 2) @ z)
        return Solution(z, value, float(lower_bound), lower_z, bound, shift)

    def _lower_bound(self, z, radius, outside):
        length = np.hypot(outside, np.linalg.norm(self._inside + self._factor @ z))
        return self._constant - z @ self._curvature @ z / 2 - radius * length

    def point(self, z):
        """Returns `c + B'z`."""
        return self._center + self._basis.rows.T @ z

    def residual(self, solution):
        """Returns the gradient at the minimiser plus the multiplier times its offset from c."""
        gradient = self._linear + self._across.rows.T @ (self._factor @ solution.z)
        return gradient + solution.shift * (self._basis.rows.T @ solution.z)


class ImageModel:
    """F within a subspace `c + B'z` whose images are kept elsewhere, exactly, and tangents of F.

    Args:
        center: c, the centre of the balls.
    """

    def __init__(self, center):
        self._center, self._basis = center, Rows(center.size)
        self.tangents = certificate.CuttingPlaneModel()

    @property
    def size(self):
        """The number of vectors in the basis."""
        return len(self._basis.rows)

    def next_vector(self, direction):
        """Returns the unit vector that a direction adds, or `None` if that is rounding."""
        if self.size == self._center.size:
            return None
        _, vector, left = split(direction, self._basis.rows)
        return vector if left and np.isfinite(left) else None

    def extend(self, vector):
        """Adds a unit vector orthogonal to the basis."""
        self._basis.append(vector)

    def offset(self, z):
        """Returns `B'z`, for a z of the first vectors."""
        return self._basis.rows[: len(z)].T @ z

    def add_tangent(self, z, value, gradient):
        """Adds the tangent of F at `c + B'z`."""
        self.tangents.add(z, value - gradient @ self.offset(z), gradient)
