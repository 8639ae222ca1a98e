"""The highest lower bound that gradients within a subspace prove: pure NumPy and SciPy.

For a convex F and any V, inside the ball of radius R about c or not, with gradient g at V

    D(V) = F(V) - <g, V - c> - R ||g||  <=  min over the ball of F.

The V of the highest bound is not the minimiser: it makes the gradient short, as minimal residuals
do for linear equations. Let F be quadratic, `F(c + B'z) = constant + <l, B'z> + z'Tz / 2`, and the
images of the basis under the curvature `A B' = Q'U` with orthonormal rows Q. Then

    D = constant - z'Tz / 2 - R ||l + Q'U z||

is concave in z. Its maximiser minimises `||q + U z||^2 + s z'Tz`, with `q = Q l`, at the s that is
`||l + Q'U z|| / R`: in the square root of T, a ridge regression for each s.

Source: Paige and Saunders, Solution of sparse indefinite systems of linear equations, SIAM J.
Numer. Anal. 12 (1975), for minimal residuals, which are the limit of a large radius; the term with
T, which the ball adds, is worked out here.
"""

import numpy as np
from scipy import linalg, optimize

# Curvatures below this share of the largest are rounding.
NEGLIGIBLE = 1e-14
# The least s relative to that at the centre, and how exactly its logarithm is found: D is flat.
LEAST, PRECISION = 1e-14, 1e-4


def highest_bound(curvature, factor, inside, outside, radius):
    """Maximises D within a subspace.

    Args:
        curvature: T, symmetric and, up to rounding, positive semidefinite, `(m, m)`.
        factor: U, `(m, m)`.
        inside: q, `(m,)`.
        outside: The length of what l has besides `Q'q`.
        radius: R, positive.

    Returns:
        The z, `(m,)`. Rounding makes the bound there lower, and never invalid.
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
