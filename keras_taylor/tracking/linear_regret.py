"""Linear regret: an upper bound of Taylor regret from streaming sums of gradients.

By convexity `l^n - L^n(V) <= <g^n, W^n - V>` for every comparator V. Summed over rounds and
maximised over the ball of radius R about the first weights `W^1`:

    Regret(N) <= LinearRegret(N) = sum_n <g^n, W^n - W^1> + R ||sum_n g^n||.

These functions take weights as matrices `(rows, columns)`, one for each piece of a
`keras_taylor.weights.scopes.Scopes`. Each column belongs to one unit, so sums over columns give
the values of units, and sums over units give exactly those of layers and of the network.

Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; the bound
is a reconstruction.
"""

from keras import ops

# Sums over rounds are float64: in float32, a million rounds would lose four digits.
SUM_DTYPE = "float64"


def unit_inner_products(scopes, one, other):
    """Returns `<one_u, other_u>` for every unit u, as a float64 vector `(unit_count,)`.

    Args:
        scopes: The `Scopes` that cut the weights.
        one: Matrices `(rows, columns)`, one for each piece.
        other: Matrices of the same shapes.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, use_bias=False)])
    >>> scopes = keras_taylor.weights.scopes.Scopes(model.trainable_variables)
    >>> unit_inner_products(scopes, [np.array([[1.0, 2.0]])], [np.array([[3.0, 4.0]])]).numpy()
    array([3., 8.])
    """
    return ops.cast(scopes.inner_products([(one, other)])[0], SUM_DTYPE)


def unit_squared_norms(scopes, matrices):
    """Returns `||m_u||^2` for every unit u, as a float64 vector `(unit_count,)`.

    Args:
        scopes: The `Scopes` that cut the weights.
        matrices: Matrices `(rows, columns)`, one for each piece.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, use_bias=False)])
    >>> scopes = keras_taylor.weights.scopes.Scopes(model.trainable_variables)
    >>> unit_squared_norms(scopes, [np.array([[1.0, 2.0]])]).numpy()
    array([1., 4.])
    """
    return ops.cast(scopes.inner_products([(matrices, matrices)])[0], SUM_DTYPE)


def linear_regret(scopes, inner_products, gradient_sums, radius, kind="network"):
    """Returns cumulative linear regret against the worst comparator in a ball about `W^1`.

    `sum_n <g^n, W^n - W^1> + R ||sum_n g^n||`, a sum over rounds.

    Args:
        scopes: The `Scopes` that cut the weights.
        inner_products: `sum_n <g_u^n, W_u^n - W_u^1>` for every unit, `(unit_count,)`.
        gradient_sums: `sum_n g^n` as matrices, one for each piece.
        radius: R: a number for all parts, or a tensor with the shape of the result.
        kind: `"network"`, `"layers"` or `"units"`.

    Returns:
        A scalar, a vector `(layers,)` or a vector `(unit_count,)`.

    Raises:
        ValueError: if the kind is another one.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    >>> scopes = keras_taylor.weights.scopes.Scopes(model.trainable_variables)
    >>> float(linear_regret(scopes, np.array([1.0]), [np.array([[-3.0]])], radius=2.0))
    7.0
    """
    norms = ops.sqrt(scopes.totals(unit_squared_norms(scopes, gradient_sums), kind))
    return scopes.totals(inner_products, kind) + radius * norms


def linear_regret_against(scopes, inner_products, gradient_sums, displacement, kind="network"):
    """Returns cumulative linear regret against one comparator V.

    `sum_n <g^n, W^n - V> = sum_n <g^n, W^n - W^1> - <sum_n g^n, V - W^1>`, a sum over rounds.

    Args:
        scopes: The `Scopes` that cut the weights.
        inner_products: `sum_n <g_u^n, W_u^n - W_u^1>` for every unit, `(unit_count,)`.
        gradient_sums: `sum_n g^n` as matrices, one for each piece.
        displacement: `V - W^1` as matrices, one for each piece.
        kind: `"network"`, `"layers"` or `"units"`.

    Returns:
        A scalar, a vector `(layers,)` or a vector `(unit_count,)`.

    Raises:
        ValueError: if the kind is another one.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    >>> scopes = keras_taylor.weights.scopes.Scopes(model.trainable_variables)
    >>> products, sums, displacement = np.array([1.0]), [np.array([[-3.0]])], [np.array([[2.0]])]
    >>> float(linear_regret_against(scopes, products, sums, displacement))
    7.0
    """
    gained = unit_inner_products(scopes, gradient_sums, displacement)
    return scopes.totals(inner_products - gained, kind)


def average(cumulative, steps):
    """Returns a sum over rounds divided by the number of rounds; NaN before the first round.

    Args:
        cumulative: A tensor or array of a floating dtype.
        steps: The number of rounds, a scalar.

    Example:

    >>> float(average(np.float64(6.0), 3)), float(average(np.float64(0.0), 0))
    (2.0, nan)
    """
    steps = ops.cast(steps, cumulative.dtype)
    return ops.where(steps > 0, cumulative / ops.maximum(steps, 1), float("nan"))


def optimum_lower_bound(average_loss, cumulative_regret, steps):
    """Returns a lower bound of the Taylor optimum: average loss - linear regret / N.

    Args:
        average_loss: The mean of the loss over the rounds, a scalar.
        cumulative_regret: Linear regret, summed over the rounds; a tensor or array.
        steps: N, the number of rounds, a scalar.

    Returns:
        A tensor with the shape of `cumulative_regret`; NaN before the first round.

    Example:

    >>> float(optimum_lower_bound(5.0, np.float64(6.0), 3))
    3.0
    """
    return average_loss - average(cumulative_regret, steps)
