"""Kronecker factors of the mean curvature, which lead a solve to the optimum in fewer passes.

For the weights of one layer as a matrix G of `(rows, units)`, the curvature is modelled as
`A x B`, A over rows and B over units. If G is random with the curvature as its covariance, then

    E[G G'] = A trace(B),    E[G' G] = B trace(A),    E[||G||^2] = trace(A) trace(B)

so that sums over samples of it are enough, whatever the layer computes. Such samples are products
of a model's transposed Jacobian and a random vector whose covariance is the curvature of the loss
in the outputs, one a round. How good the model is decides how many passes a solve takes, not what
it proves.

Source: Martens and Grosse, Optimizing neural networks with Kronecker-factored approximate
curvature, ICML 2015. Different from it, factors come from products of whole gradients and not from
activations and back-propagated derivatives, so that any layer has them; biases are rows of their
kernel; and they serve as a preconditioner alone.
"""

import numpy as np
from keras import ops
from scipy import linalg

# A side of a matrix of weights that is longer is taken to be curved alike in all directions.
LONGEST_SIDE = 2048


def groups(part):
    """Returns the numbers of a part's weights that share their units, a tuple for each group."""
    found, scopes = {}, part.scopes
    for index in part.weights:
        key = scopes.first_units[index], scopes.unit_counts[index]
        found.setdefault(key, []).append(index)
    return list(map(tuple, found.values()))


def stacked(part, tensors):
    """Returns tensors like the weights as one matrix `(rows, units)` for each of `groups`."""
    counts = part.scopes.unit_counts
    return [
        ops.concatenate([ops.reshape(tensors[index], (-1, counts[index])) for index in group])
        for group in groups(part)
    ]


def products(part, tensors):
    """Returns `G G'`, `G' G` and `||G||^2` of each of `groups`, one list of float64 tensors."""
    return [
        product
        for matrix in stacked(part, tensors)
        for product in _products(ops.cast(matrix, "float64"))
    ]


def _products(matrix):
    """Returns the products of one matrix, of no size in place of what is too large."""
    rows, units = matrix.shape
    turned, none = ops.transpose(matrix), ops.zeros((0, 0), matrix.dtype)
    return (
        matrix @ turned if rows <= LONGEST_SIDE else none,
        turned @ matrix if units <= LONGEST_SIDE else none,
        ops.sum(ops.square(matrix)),
    )


def zeros(part):
    """Returns sums of nothing like `products`, arrays."""
    return [
        np.zeros(shape)
        for group in groups(part)
        for shape in _product_shapes(*_shape_of(part.scopes, group))
    ]


def _product_shapes(rows, units):
    sides = [(side, side) if side <= LONGEST_SIDE else (0, 0) for side in (rows, units)]
    return [*sides, ()]


def _shape_of(scopes, group):
    """Returns rows and units of the matrix of a group."""
    units = scopes.unit_counts[group[0]]
    return sum(int(np.prod(scopes.shapes[index])) // units for index in group), units


class Kronecker:
    """Solves `(model of the curvature + shift) p = r` for a part of the weights.

    Args:
        part: The `keras_taylor.weights.parts.Part`.
        means: The means of the `products` of its samples, arrays.
    """

    def __init__(self, part, means):
        self._part = part
        self._zeros = [np.zeros(shape) for shape in part.scopes.shapes]
        self._groups = [
            (group, *_eigen(_shape_of(part.scopes, group), *means[3 * place : 3 * place + 3]))
            for place, group in enumerate(groups(part))
        ]

    def __call__(self, residual, shift):
        """Returns p, a float64 vector of the part, for a residual r and a positive shift."""
        arrays = self._part.arrays(residual, self._zeros)
        solved = list(arrays)
        matrices = map(np.asarray, stacked(self._part, arrays))
        for matrix, (group, values, rows, units) in zip(matrices, self._groups, strict=True):
            matrix = _turned(matrix, rows, units, transposed=True)
            matrix = _turned(matrix / (values + shift), rows, units)
            ends = np.cumsum([self._rows(index) for index in group])[:-1]
            for index, piece in zip(group, np.split(matrix, ends), strict=True):
                solved[index] = piece.reshape(arrays[index].shape)
        return self._part.vector(solved)

    def _rows(self, index):
        return self._zeros[index].size // self._part.scopes.unit_counts[index]


def _eigen(shape, outer, inner, square):
    """Returns the model's eigenvalues `(rows, units)`, and the eigenvectors of both sides."""
    rows, units = shape
    over_rows, left = _side(outer, rows, square)
    over_units, right = _side(inner, units, square)
    values = np.outer(over_rows, over_units) / max(square, np.finfo(float).tiny)
    return values, left, right


def _side(product, length, square):
    if not product.size:
        return np.full(length, square / length), None
    values, vectors = linalg.eigh(np.asarray(product))
    return np.maximum(values, 0.0), vectors


def _turned(matrix, rows, units, transposed=False):
    if rows is not None:
        matrix = (rows.T if transposed else rows) @ matrix
    if units is not None:
        matrix = matrix @ (units if transposed else units.T)
    return matrix
