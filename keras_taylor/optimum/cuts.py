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

from keras_taylor.optimum.basis import Rows

# Former gradients are those of points that are further from the minimum.
MOST_SHARED = 40
# How exactly the highest bound is found, relative to its distance from that of one point.
PRECISION = 1e-6


class Cuts:
    """Tangents of F at points within a growing subspace `c + B'z`.

    Args:
        length: The number of weights.
    """

    def __init__(self, length):
        self._gradients, self._products = Rows(length), np.zeros((0, 0))
        self._points, self._heights = [], []

    def add(self, z, height, gradient):
        """Adds the tangent at a point, given by z and h, with its gradient."""
        self._gradients.append(gradient)
        border = self._gradients.rows @ gradient
        corner = [[self._products, border[:-1, None]], [border[None, :-1], border[-1:, None]]]
        self._products = np.block(corner)
        self._points.append(z)
        self._heights.append(height)

    def highest(self, radius):
        """Returns the highest bound of one tangent, its z, and the size of its largest term."""
        across = radius * np.sqrt(np.diag(self._products))
        bounds = np.array(self._heights) - across
        best = int(np.argmax(bounds))
        return bounds[best], self._points[best], abs(self._heights[best]) + across[best]

    def highest_shared(self, radius):
        """Returns the highest bound that the latest tangents prove, and the average of their z."""
        latest = slice(-MOST_SHARED, None)
        heights, points = np.array(self._heights[latest]), self._points[latest]
        shares, bound = best_shares(heights, self._products[latest, latest], radius)
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
    room = max(np.max(heights) - alone[best], np.finfo(float).tiny)

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
