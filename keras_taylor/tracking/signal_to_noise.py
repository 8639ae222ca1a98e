"""Signal-to-noise ratio of gradients and updates over rounds, per coordinate and summarised.

For a coordinate with values g^n, `|mean g| / sqrt(mean g^2)`, from 0 (noise) to 1 (the same value
in each round). RMS normalisation turns the expected step into learning rate x this ratio.
"""

from keras import ops

from keras_taylor.tracking.linear_regret import SUM_DTYPE

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
KINDS = ("gradients", "updates")


def ratio(sums, squares, steps):
    """Returns `|sum g| / sqrt(N sum g^2)`, zero where no value but zero came.

    Args:
        sums: `sum_n g^n`, a tensor.
        squares: `sum_n (g^n)^2`, like it.
        steps: N.
    """
    scale = ops.sqrt(ops.cast(steps, squares.dtype) * squares)
    is_zero = scale <= 0
    found = ops.abs(sums) / ops.where(is_zero, ops.ones_like(scale), scale)
    # Rounding may lift a value of one above it.
    return ops.where(is_zero, ops.zeros_like(found), ops.minimum(found, 1.0))


def quantiles(scopes, ratios, scope):
    """Summarises ratios by quantiles over the coordinates of each part.

    Args:
        scopes: The `keras_taylor.weights.scopes.Scopes` that cut the weights.
        ratios: Tensors shaped like the weights.
        scope: `"network"`, `"layers"` or `"units"`.

    Returns:
        The quantiles of `QUANTILES`: `(5,)` for the network, `{layer: (5,)}`, or
        `{layer: (units, 5)}`.
    """
    if scope == "network":
        return _over(ops.concatenate([ops.reshape(r, (-1,)) for r in ratios]))
    parts = {layer: scopes.layer_part(ratios, layer) for layer in scopes.layers}
    if scope == "layers":
        return {
            layer: _over(ops.concatenate([ops.reshape(r, (-1,)) for r in part if r is not None]))
            for layer, part in parts.items()
        }
    return {layer: _of_units(scopes, part) for layer, part in parts.items()}


def _over(values):
    return ops.moveaxis(ops.quantile(values, list(QUANTILES), axis=0), 0, -1)


def _of_units(scopes, part):
    groups = {}
    for count, ratio in zip(scopes.unit_counts, part, strict=True):
        if ratio is not None:
            groups.setdefault(count, []).append(ops.reshape(ratio, (-1, count)))
    return ops.concatenate([_over(ops.concatenate(group)) for group in groups.values()])


class Sums:
    """The sums that signal-to-noise ratios of gradients and updates come from.

    Args:
        add_variable: Function of a shape and a name that returns a float64 variable of zeros.
        shapes: Shapes of the matrices that gradients and weights come as.
    """

    def __init__(self, add_variable, shapes):
        self._gradient_squares, self._update_sums, self._update_squares = (
            [add_variable(shape, name) for shape in shapes]
            for name in ("gradient_square", "update", "update_square")
        )

    def variables(self):
        """Returns all of them."""
        return [*self._gradient_squares, *self._update_sums, *self._update_squares]

    def add(self, gradients, updates):
        """Adds the gradients and updates of a round, lists of matrices."""
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
        """Returns the ratio of each coordinate, a list of matrices.

        Args:
            of: `"gradients"` or `"updates"`.
            gradient_sums: `sum_n g^n`, matrices.
            steps: N.
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
