"""Signal-to-noise ratio of gradients and updates over rounds, for each coordinate.

For a coordinate with values g^n in rounds n = 1..N the ratio is

    |mean g| / sqrt(mean g^2) = |sum_n g^n| / sqrt(N sum_n (g^n)^2),

from 0 (noise) to 1 (the same value in each round). With RMS normalisation, the expected update is
the learning rate times this ratio.

Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017, for the
question; the measure is a reconstruction.
"""

from keras import ops

from keras_taylor.tracking.linear_regret import SUM_DTYPE

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
KINDS = ("gradients", "updates")


def ratio(sums, squares, steps):
    """Returns `|sum_n g^n| / sqrt(N sum_n (g^n)^2)`, and zero where all values were zero.

    Args:
        sums: `sum_n g^n`, a tensor.
        squares: `sum_n (g^n)^2`, a tensor of the same shape.
        steps: N, the number of rounds.

    Returns:
        A tensor of the same shape, from 0 to 1.

    Example:

    >>> ratio(np.array([4.0, 0.0]), np.array([4.0, 4.0]), 4).numpy()
    array([1., 0.])
    """
    scale = ops.sqrt(ops.cast(steps, squares.dtype) * squares)
    is_zero = scale <= 0
    found = ops.abs(sums) / ops.where(is_zero, ops.ones_like(scale), scale)
    # Rounding may lift a ratio of one above one.
    return ops.where(is_zero, ops.zeros_like(found), ops.minimum(found, 1.0))


def quantiles(scopes, ratios, scope="network"):
    """Returns the quantiles 5, 25, 50, 75 and 95 % of ratios, over the coordinates of each part.

    Args:
        scopes: The `keras_taylor.weights.scopes.Scopes` that cut the weights.
        ratios: Tensors shaped like the weights.
        scope: `"network"`, `"layers"`, `"units"`, `"layer:<key>"` or `"unit:<key>/<n>"`.

    Returns:
        `(5,)` for the network, one layer or one unit; `{layer: (5,)}`; or `{layer: (units, 5)}`.

    Raises:
        ValueError: if there is no such scope; the message lists what there is.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
    >>> scopes = keras_taylor.weights.scopes.Scopes(model.trainable_variables)
    >>> quantiles(scopes, [np.array([[0.0], [0.25], [0.5], [1.0]])])[2].numpy()
    np.float64(0.375)
    """
    kind, layer, unit = scopes.locate(scope)
    if kind == "network":
        return _of_all(ratios)
    read = _of_all if kind == "layers" else lambda own: _of_units(scopes, own)
    if layer is None:
        return {key: read(scopes.layer_part(ratios, key)) for key in scopes.layers}
    found = read(scopes.layer_part(ratios, layer))
    return found if unit is None else found[unit]


def _of_all(ratios):
    flat = [ops.reshape(ratio, (-1,)) for ratio in ratios if ratio is not None]
    return _over_first_axis(ops.concatenate(flat))


def _of_units(scopes, ratios):
    groups = {}
    for unit_count, ratio in zip(scopes.unit_counts, ratios, strict=True):
        if ratio is not None:
            matrix = ops.reshape(ratio, (-1, unit_count))
            groups.setdefault(unit_count, []).append(matrix)
    return ops.concatenate([_over_first_axis(ops.concatenate(group)) for group in groups.values()])


def _over_first_axis(values):
    return ops.moveaxis(ops.quantile(values, list(QUANTILES), axis=0), 0, -1)


class SignalToNoiseSums:
    """The sums over rounds that signal-to-noise ratios come from, as variables.

    These are the squares of gradients, the updates and their squares, for each coordinate. The
    sum of gradients is not among them, because linear regret has it already.

    Args:
        add_variable: Function of a shape and a name that returns a float64 variable of zeros.
        shapes: The shapes of the matrices in which gradients and weights come.
    """

    def __init__(self, add_variable, shapes):
        self._gradient_squares, self._update_sums, self._update_squares = (
            [add_variable(shape, name) for shape in shapes]
            for name in ("gradient_square", "update", "update_square")
        )

    def variables(self):
        """Returns all variables."""
        return [*self._gradient_squares, *self._update_sums, *self._update_squares]

    def add(self, gradients, updates):
        """Adds the gradients and updates of a round, two lists of matrices."""
        gradients, updates = (
            [ops.cast(matrix, SUM_DTYPE) for matrix in matrices]
            for matrices in (gradients, updates)
        )
        pairs = [
            *zip(self._gradient_squares, map(ops.square, gradients), strict=True),
            *zip(self._update_sums, updates, strict=True),
            *zip(self._update_squares, map(ops.square, updates), strict=True),
        ]
        for total, term in pairs:
            total.assign_add(term)

    def ratios(self, of, gradient_sums, steps):
        """Returns the ratio of each coordinate, as a list of matrices.

        Args:
            of: `"gradients"` or `"updates"`.
            gradient_sums: `sum_n g^n`, a list of matrices.
            steps: N, the number of rounds.

        Raises:
            ValueError: if `of` is neither.
        """
        if of not in KINDS:
            raise ValueError(f"unknown kind {of!r}: expected one of {', '.join(KINDS)}")
        if of == "gradients":
            pairs = zip(gradient_sums, self._gradient_squares, strict=True)
        else:
            pairs = zip(self._update_sums, self._update_squares, strict=True)
        return [
            ratio(ops.convert_to_tensor(total), ops.convert_to_tensor(square), steps)
            for total, square in pairs
        ]
