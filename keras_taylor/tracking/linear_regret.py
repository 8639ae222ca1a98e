"""Linear regret: an upper bound of Taylor regret from streaming sums of gradients.

By convexity `l^n - L^n(V) <= <g^n, W^n - V>` for every comparator V. Summed over rounds and
maximised over the ball of radius R about the first weights `W^1`:

    Regret(N) <= LinearRegret(N) = sum_n <g^n, W^n - W^1> + R ||sum_n g^n||.

The functions here act on weights as matrices `(rows, columns)`, one for each piece of a
`keras_taylor.weights.scopes.Scopes`, so that sums over columns belong to units, and layers and the
network follow from them exactly.

Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; the bound
is a reconstruction.
"""

from keras import ops

# Sums over rounds are float64: at a million steps, float32 sums would have lost four digits.
SUM_DTYPE = "float64"


def unit_inner_products(scopes, first, second):
    """Returns `<first_u, second_u>` for every unit u, as a float64 vector `(unit_count,)`.

    Args:
        scopes: The `Scopes` that cut the matrices.
        first: Matrices `(rows, columns)`, one a piece.
        second: Likewise.
    """
    products = [one * other for one, other in zip(first, second, strict=True)]
    return ops.cast(scopes.unit_sums(products), SUM_DTYPE)


def unit_squared_norms(scopes, matrices):
    """Returns `||m_u||^2` for every unit u, as a float64 vector `(unit_count,)`."""
    return ops.cast(scopes.unit_sums([ops.square(matrix) for matrix in matrices]), SUM_DTYPE)


def linear_regret(scopes, inner_products, gradient_sums, radius, scope="network"):
    """Returns cumulative linear regret against the worst comparator in a ball about `W^1`.

    `sum_n <g^n, W^n - W^1> + R ||sum_n g^n||`, summed over rounds.

    Args:
        scopes: The `Scopes` that cut the weights.
        inner_products: `sum_n <g_u^n, W_u^n - W_u^1>` for every unit, `(unit_count,)`.
        gradient_sums: `sum_n g^n` as matrices, one a piece.
        radius: R for each part of the scope: a number, or a tensor shaped like the result.
        scope: `"network"`, `"layers"` or `"units"`.

    Returns:
        A scalar, a vector `(layers,)` or a vector `(unit_count,)`.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    >>> scopes = keras_taylor.weights.scopes.Scopes(model.trainable_variables)
    >>> float(linear_regret(scopes, np.array([1.0]), [np.array([[-3.0]])], radius=2.0))
    7.0
    """
    norms = ops.sqrt(scopes.totals(unit_squared_norms(scopes, gradient_sums), scope))
    return scopes.totals(inner_products, scope) + radius * norms


def linear_regret_against(scopes, inner_products, gradient_sums, displacement, scope="network"):
    """Returns cumulative linear regret against one comparator V.

    `sum_n <g^n, W^n - V> = sum_n <g^n, W^n - W^1> - <sum_n g^n, V - W^1>`, summed over rounds.

    Args:
        scopes: The `Scopes` that cut the weights.
        inner_products: `sum_n <g_u^n, W_u^n - W_u^1>` for every unit, `(unit_count,)`.
        gradient_sums: `sum_n g^n` as matrices, one a piece.
        displacement: `V - W^1` as matrices, one a piece.
        scope: `"network"`, `"layers"` or `"units"`.

    Returns:
        A scalar, a vector `(layers,)` or a vector `(unit_count,)`.
    """
    gained = unit_inner_products(scopes, gradient_sums, displacement)
    return scopes.totals(inner_products - gained, scope)


def average(cumulative, steps):
    """Returns a cumulative value divided by the number of steps; NaN before the first step."""
    steps = ops.cast(steps, cumulative.dtype)
    return ops.where(steps > 0, cumulative / ops.maximum(steps, 1), float("nan"))


def optimum_lower_bound(average_loss, cumulative_regret, steps):
    """Returns a lower bound of the Taylor optimum: average loss - linear regret / N."""
    return average_loss - average(cumulative_regret, steps)
