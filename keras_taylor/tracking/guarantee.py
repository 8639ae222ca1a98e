"""The convergence guarantee that linear regret is held against.

For plain SGD with step eta, every part s and every comparator V, exactly,

    sum_n <g^n, W^n - V>
        = (||W^1 - V||^2 - ||W^(N+1) - V||^2) / (2 eta) + (eta / 2) sum_n ||g^n||^2.

So within R of `W^1` regret is at most `R^2 / (2 eta) + (eta / 2) G` with `G_s = sum_n ||g_s^n||^2`:
a start-up term that too small a step makes large, and a noise term that too large a step makes
large. At the best step, `eta = R / sqrt(G)`, the bound is

    guarantee_s(N) = R_s sqrt(G_s)     ( <= R B sqrt(N) with B the largest ||g^n|| )

so it grows like sqrt(N) for a step that is tuned to the horizon N. For optimizers other than SGD it
is a yardstick, not a theorem. With gradient accumulation over K microbatches, each of which counts
as a round here, what SGD guarantees is larger by a factor of up to sqrt(K).

Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017, for a
guarantee at the rate 1/sqrt(N); its form is a reconstruction. The identity is that of Zinkevich,
Online convex programming and generalized infinitesimal gradient ascent, ICML 2003.
"""

from keras import ops


def guarantee(scopes, squared_norms, radius, kind="network"):
    """Returns the cumulative guarantee `R_s sqrt(sum_n ||g_s^n||^2)`, a sum over rounds.

    Args:
        scopes: The `Scopes` that cut the weights.
        squared_norms: `sum_n ||g_u^n||^2` for every unit, `(unit_count,)`.
        radius: R for each part: a number, or a tensor shaped like the result.
        kind: `"network"`, `"layers"` or `"units"`.

    Returns:
        A scalar, a vector `(layers,)` or a vector `(unit_count,)`, in units of the loss.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, use_bias=False)])
    >>> scopes = keras_taylor.weights.scopes.Scopes(model.trainable_variables)
    >>> float(guarantee(scopes, np.array([9.0, 16.0]), radius=2.0))
    10.0
    """
    return radius * ops.sqrt(scopes.totals(squared_norms, kind))


def relative_regret(linear_regret, bound):
    """Returns linear regret over the guarantee, without a unit; NaN where the guarantee is zero.

    About 1 for a well tuned SGD, far above 1 for a badly tuned one; below 1 is better than the
    guarantee promises. The guarantee is zero where a part did not move or got no gradient.

    Args:
        linear_regret: Cumulative linear regret, a tensor.
        bound: The cumulative guarantee for the same radius, like it.
    """
    is_zero = ops.equal(bound, 0)
    divisor = ops.where(is_zero, ops.ones_like(bound), bound)
    return ops.where(is_zero, float("nan"), linear_regret / divisor)
