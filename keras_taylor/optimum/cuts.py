"""Lower bounds that gradients at several points prove together: pure NumPy and SciPy.

F is convex, so that each tangent is below it, and so is each average of tangents. At points U_i
with gradients g_i and shares l_i, which are not negative and sum to one, over the ball of radius R
about c

    sum_i l_i h_i - R || sum_i l_i g_i || <= min F,    h_i = F(U_i) - <g_i, U_i - c>.

Gradients along a solve point in different directions, so that their average is shorter than each.

Source: Kelley, The cutting-plane method for solving convex programs, 1960, for bounds from several
tangents; their maximum over a ball is worked out here.
"""

import numpy as np
from scipy import optimize

# Former gradients are those of points that are further from the minimum.
MOST_SHARED = 40
# How exactly the highest bound is found, relative to its distance from that of one point.
PRECISION = 1e-6


class Cuts:
    """Tangents of F at points within a growing subspace `c + B'z`."""

    def __init__(self):
        # Of each tangent z, h and the gradient's length; the latest gradients and their products.
        # They change at once, so that an interrupt leaves all of a tangent or nothing.
        self._kept = [], [], np.zeros((0, 0))

    def __len__(self):
        return len(self._kept[0])

    def add(self, z, height, gradient):
        """Adds the tangent at a point, given by z and h, with its gradient."""
        tangents, gradients, products = self._kept
        former = slice(1 - MOST_SHARED, None)
        gradients, products = [*gradients[former], gradient], products[former, former]
        border = np.array([other @ gradient for other in gradients])
        corner = [[products, border[:-1, None]], [border[None, :-1], border[None, -1:]]]
        tangents = [*tangents, (z, height, np.sqrt(border[-1]))]
        self._kept = tangents, gradients, np.block(corner)

    def highest(self, radius):
        """Returns the highest bound of one tangent, its z, and the size of its largest term."""
        points, heights, lengths = zip(*self._kept[0], strict=True)
        across = radius * np.array(lengths)
        bounds = np.array(heights) - across
        best = int(np.argmax(bounds))
        return bounds[best], points[best], abs(heights[best]) + across[best]

    def highest_shared(self, radius):
        """Returns the highest bound that the latest tangents prove, and the average of their z."""
        tangents, gradients, products = self._kept
        points, heights, _ = zip(*tangents[-len(gradients) :], strict=True)
        shares, bound = best_shares(np.array(heights), products, radius)
        size = max(map(len, points))
        padded = [np.pad(z, (0, size - len(z))) for z in points]
        return bound, shares @ np.array(padded)


def best_shares(heights, products, radius):
    """Maximises `sum_i l_i h_i - R || sum_i l_i g_i ||` over shares l.

    Args:
        heights: h, `(m,)`.
        products: The inner products of the gradients, `(m, m)`.
        radius: R, positive.

    Returns:
        The shares, `(m,)`, and the bound. Where the maximum is not found, the bound is lower and
        still valid.
    """
    alone = heights - radius * np.sqrt(np.diag(products))
    best = int(np.argmax(alone))
    single = np.eye(len(heights))[best]
    # The bound relative to what there is to win on that of one tangent.
    room = np.max(heights) - alone[best]
    if not room > 0:
        return single, alone[best]

    def excess(shares):
        turned = products @ shares
        length = np.sqrt(max(shares @ turned, np.finfo(float).tiny))
        bound = heights @ shares - radius * length
        return (alone[best] - bound) / room, (radius * turned / length - heights) / room

    found = optimize.minimize(
        excess,
        0.5 * single + 0.5 / len(heights),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * len(heights),
        constraints={"type": "eq", "fun": lambda shares: shares.sum() - 1, "jac": np.ones_like},
        options={"ftol": PRECISION, "maxiter": 100},
    )
    shares = np.maximum(found.x, 0.0)
    shares /= shares.sum()
    gained = -excess(shares)[0]
    return (shares, alone[best] + gained * room) if gained > 0 else (single, alone[best])
