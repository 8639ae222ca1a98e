"""Certified bounds of the minimum of a convex function over a ball: NumPy and SciPy only.

F is convex, and the ball has radius R and centre c. With the gradient g at a point U,

    frank_wolfe:    F(U) - <g, U - c> - R ||g||  <=  min over the ball of F.

At a minimiser within a subspace this is the Frank-Wolfe gap. Elsewhere it often proves more: the
`dual` point maximises it over a subspace, which makes the gradient short, as minimal residuals do
for linear equations. Each average of tangents bounds F too. At points U_i with gradients g_i and
shares s_i, which are not negative and sum to one,

    cutting_plane:  sum_i s_i h_i - R ||sum_i s_i g_i||  <=  min F,   h_i = F(U_i) - <g_i, U_i - c>.

Sources: Frank and Wolfe, An algorithm for quadratic programming, 1956, and Jaggi, Revisiting
Frank-Wolfe, ICML 2013, for the gap; Paige and Saunders, SIAM J. Numer. Anal. 12 (1975), for minimal
residuals, the limit of the dual point for a large radius; Kelley, The cutting-plane method for
solving convex programs, 1960. The maximisation of the last two over a ball is worked out here.
"""

import dataclasses

import numpy as np
from scipy import linalg, optimize

FRANK_WOLFE, DUAL, CUTTING_PLANE = "frank_wolfe", "dual", "cutting_plane"
LINEAR_REGRET, LOSS = "linear_regret", "loss"
# Curvatures below this share of the largest are rounding.
NEGLIGIBLE = 1e-14
# The least multiplier relative to that at the centre; the bound is flat in its logarithm.
LEAST, PRECISION = 1e-14, 1e-4
# Older tangents are further from the minimum.
MOST_TANGENTS = 40
SHARES_PRECISION = 1e-6


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """The gap to reach: `max(atol, rtol |value|)`.

    Example:

    >>> Tolerance(0.01).gap(-20.0), (0.5 * Tolerance(0.0, 0.01)).gap(-20.0)
    (0.2, 0.005)
    """

    rtol: float = 0.0
    atol: float = 0.0

    def gap(self, value):
        """Returns the gap that is small enough at a value."""
        return max(self.atol, self.rtol * abs(value))

    def __rmul__(self, factor):
        return Tolerance(factor * self.rtol, factor * self.atol)


@dataclasses.dataclass(frozen=True)
class Interval:
    """The minimum lies between `lower_bound` and `value`, which is F at `point`.

    Args:
        point: The best point V in the ball.
        value: F there, or infinity if F was not evaluated.
        lower_bound: The highest certified bound.
        scale: The largest term of the bound, which rounding is relative to.
        lower_point: The point U of the bound, or `None`.
        bound: The name of the bound, for example `"frank_wolfe"`.
    """

    point: np.ndarray
    value: float = np.inf
    lower_bound: float = -np.inf
    scale: float = 0.0
    lower_point: np.ndarray | None = None
    bound: str = FRANK_WOLFE

    @property
    def gap(self):
        """`value - lower_bound`."""
        return self.value - self.lower_bound

    def reached(self, tolerance):
        """Whether the gap is as small as a `Tolerance` asks for."""
        return bool(np.isfinite(self.gap) and self.gap <= tolerance.gap(self.value))

    def raised(self, other):
        """Returns this interval with the lower bound of another one if that is higher."""
        best = other if other.lower_bound > self.lower_bound else self
        return dataclasses.replace(
            self,
            lower_bound=best.lower_bound,
            lower_point=best.lower_point,
            bound=best.bound,
            scale=max(self.scale, other.scale),
        )

    def rounded(self, share, size=0.0):
        """Returns the interval with both ends moved outwards by the allowance for rounding.

        Ends that have crossed move by as much again.

        Args:
            share: The allowance, relative to the largest term of the bound.
            size: A size that the allowance is also relative to, such as that of the losses.
        """
        if not np.isfinite(self.value):
            return self
        room = share * max(abs(self.value), self.scale, size) + max(0.0, -self.gap)
        return dataclasses.replace(
            self, value=self.value + room, lower_bound=self.lower_bound - room
        )


def inside(point, center, radius):
    """Returns a point moved into the ball, towards its centre."""
    offset = point - center
    length = np.linalg.norm(offset)
    return point if length <= radius else center + offset * (radius / length)


def certified(point, value, gradient, center, radius, bound=FRANK_WOLFE):
    """Returns the `Interval` that F and its gradient at a point prove."""
    along, across = gradient @ (point - center), radius * np.linalg.norm(gradient)
    if not np.isfinite(value + along + across):
        return Interval(point, value)
    lower, scale = value - along - across, abs(along) + across
    return Interval(point, value, float(lower), float(scale), point, bound)


def dual_point(curvature, factor, inside, outside, radius):
    """Maximises the Frank-Wolfe bound of a quadratic within a subspace `c + B'z`.

    `F(c + B'z) = constant + <l, B'z> + z'Tz / 2`, with the images of the basis under the curvature
    `A B' = Q'U` and orthonormal rows Q. Then the bound is `constant - z'Tz / 2 - R ||l + Q'U z||`.
    Its maximiser minimises `||q + U z||^2 + s z'Tz`, with `q = Q l`, at the s that equals
    `||l + Q'U z|| / R`: in the square root of T, a ridge regression for each s.

    Args:
        curvature: T, symmetric and, up to rounding, positive semidefinite, `(m, m)`.
        factor: U, `(m, m)`.
        inside: q, `(m,)`.
        outside: The length of the part of l outside of the rows of Q.
        radius: R, positive.

    Returns:
        The z, `(m,)`. Rounding makes its bound lower, never invalid.
    """
    values, vectors = linalg.eigh(curvature)
    known = values > NEGLIGIBLE * max(values.max(initial=0.0), np.finfo(float).tiny)
    # From y, in which z'Tz is a sum of squares, to z.
    root = vectors[:, known] / np.sqrt(values[known])
    left, sizes, right = linalg.svd(factor @ root, full_matrices=False)
    turned = left.T @ inside
    rest = np.hypot(outside, np.linalg.norm(inside - left @ turned))

    def excess(log):
        shares = np.exp(log) / (sizes**2 + np.exp(log))
        return np.log(np.hypot(rest, np.linalg.norm(shares * turned)) / radius) - log

    length = np.hypot(outside, np.linalg.norm(inside))
    if not length or not sizes.any():
        return np.zeros(len(inside))
    highest = np.log(length / radius)
    log = least = highest + np.log(LEAST)
    if excess(least) > 0:
        log = optimize.brentq(excess, least, highest + 1.0, xtol=PRECISION)
    return -root @ (right.T @ (sizes / (sizes**2 + np.exp(log)) * turned))


class CuttingPlaneModel:
    """The latest tangents of F, at points of a growing subspace `c + B'z`."""

    def __init__(self):
        self._tangents, self._products = [], np.zeros((0, 0))

    def add(self, z, height, gradient):
        """Adds a tangent.

        Args:
            z: The point, in the subspace.
            height: h, the tangent's value at the centre of the ball.
            gradient: g, a vector of weights.
        """
        recent = slice(1 - MOST_TANGENTS, None)
        tangents, products = self._tangents[recent], self._products[recent, recent]
        border = np.array([other @ gradient for *_, other in tangents])
        square = gradient @ gradient
        self._products = np.block([[products, border[:, None]], [border[None], square]])
        self._tangents = [*tangents, (z, height, gradient)]

    def highest_single(self, radius):
        """Returns the highest bound of one tangent, and its z."""
        points, heights, _ = zip(*self._tangents, strict=True)
        bounds = np.array(heights) - radius * np.sqrt(np.diag(self._products))
        best = int(np.argmax(bounds))
        return bounds[best], points[best]

    def highest(self, radius):
        """Returns the highest bound of an average of tangents, and the average of their z."""
        points, heights, _ = zip(*self._tangents, strict=True)
        shares, bound = best_shares(np.array(heights), self._products, radius)
        size = max(map(len, points))
        return bound, shares @ np.array([np.pad(z, (0, size - len(z))) for z in points])


def best_shares(heights, products, radius):
    """Maximises `sum_i s_i h_i - R ||sum_i s_i g_i||` over shares s.

    Args:
        heights: h, `(m,)`.
        products: The inner products of the gradients, `(m, m)`.
        radius: R, positive.

    Returns:
        The shares, `(m,)`, and the bound, which is valid even if the maximum is not found.
    """
    alone = heights - radius * np.sqrt(np.diag(products))
    best = int(np.argmax(alone))
    single = np.eye(len(heights))[best]
    room = np.max(heights) - alone[best]
    if not room > 0:
        return single, alone[best]

    def shortfall(shares):
        turned = products @ shares
        length = np.sqrt(max(shares @ turned, np.finfo(float).tiny))
        bound = heights @ shares - radius * length
        return (alone[best] - bound) / room, (radius * turned / length - heights) / room

    found = optimize.minimize(
        shortfall,
        0.5 * single + 0.5 / len(heights),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * len(heights),
        constraints={"type": "eq", "fun": lambda shares: shares.sum() - 1, "jac": np.ones_like},
        options={"ftol": SHARES_PRECISION, "maxiter": 100},
    )
    shares = np.maximum(found.x, 0.0)
    shares /= shares.sum()
    gained = -shortfall(shares)[0]
    return (shares, alone[best] + gained * room) if gained > 0 else (single, alone[best])
