"""How the weights of a model are cut into a network, its layers and their units."""

import collections
import dataclasses
import itertools
import math
import re

import numpy as np
from keras import ops

# A kernel of a depthwise layer under Keras' own name, or of a separable one.
DEPTHWISE = re.compile(r"(^|/)depthwise_(kernel$|conv[12]d(_\d+)?/[^/]+$)")
SCOPES = ("network", "layers", "units")


@dataclasses.dataclass(frozen=True)
class Piece:
    """Weights seen as one matrix: one weight with its units as columns, or many vectors in a row.

    Args:
        weights: Places of the weights in the list of all weights.
        rows: Number of rows; 1 for vectors.
        columns: How many columns each of the weights fills.
    """

    weights: tuple
    rows: int
    columns: tuple


class Scopes:
    """The cut of a list of weights into network, layers and units.

    A layer holds all weights whose path has the same beginning: `block1/dense` for
    `block1/dense/kernel` and `block1/dense/bias`. (Keras lets the paths in a Sequential and in a
    subclassed model begin with the model's name, those in a functional model not.) Where two
    layers have the same path, the later one gets a suffix (`dense_1`).

    A unit is one index of the last axis of all weights of a layer: a column of a kernel with its
    bias. For a depthwise kernel it is one index of its last two axes, flattened. Where the weights
    of a layer differ in their number of units (as in a separable convolution), the layer has the
    units of each number in turn.

    A kernel counts as depthwise if its layer has a vector as long as its last two axes together,
    or if its layer has the name that Keras gives a depthwise one; a depthwise layer that is renamed
    and has no bias is cut along its last axis alone, since weights do not know their layer's class.

    Vectors over all units hold one layer after the other. Weights are computed with as matrices
    `(rows, columns)`, one for each of `pieces`, where each column belongs to one unit: a matrix for
    each weight that has several rows, and one row with all the others, since many small operations
    would cost more than the arithmetic.

    Args:
        weights: The `keras.Variable`s, in the order of the tensors that are cut later.

    Raises:
        ValueError: if there is no weight.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="a")], name="net")
    >>> scopes = Scopes(model.trainable_variables)
    >>> scopes.layers
    {'net/a': 2}
    >>> [matrix.shape for matrix in scopes.matrices(model.trainable_variables)]
    [TensorShape([3, 2]), TensorShape([1, 2])]
    """

    def __init__(self, weights):
        weights = list(weights)
        if not weights:
            raise ValueError(
                "expected at least one trainable weight, but there is none: build the model and "
                "set `trainable = True` on the layers to look at"
            )
        self.shapes = [tuple(weight.shape) for weight in weights]
        keys = layer_keys([weight.path for weight in weights])
        counts = _unit_counts(keys, weights)
        firsts, self.layers = _numbered(list(zip(keys, counts, strict=True)))
        self._keys, self.unit_counts, self.first_units = keys, counts, firsts
        self.unit_count = sum(self.layers.values())
        self.pieces = _pieces(self.shapes, counts)
        order = [index for piece in self.pieces for index in piece.weights]
        self.column_units = _concatenated(
            np.arange(firsts[index], firsts[index] + counts[index]) for index in order
        )
        self.unit_layers = _concatenated(
            np.full(units, number) for number, units in enumerate(self.layers.values())
        )

    def matrices(self, tensors):
        """Returns tensors, shaped like the weights, as one matrix `(rows, columns)` a piece."""
        return [
            _side_by_side(
                [
                    ops.reshape(tensors[index], (piece.rows, columns))
                    for index, columns in zip(piece.weights, piece.columns, strict=True)
                ]
            )
            for piece in self.pieces
        ]

    def tensors(self, matrices):
        """Returns one matrix a piece as tensors shaped like the weights: undoes `matrices`."""
        result = [None] * len(self.shapes)
        for piece, matrix in zip(self.pieces, matrices, strict=True):
            ends = itertools.accumulate(piece.columns)
            for index, columns, end in zip(piece.weights, piece.columns, ends, strict=True):
                part = matrix[:, end - columns : end]
                result[index] = ops.reshape(part, self.shapes[index])
        return result

    def unit_sums(self, matrices):
        """Returns the sum of the entries of each unit, in one vector `(unit_count,)`."""
        columns = ops.concatenate(
            [
                ops.sum(matrix, axis=0) if piece.rows > 1 else ops.reshape(matrix, (-1,))
                for piece, matrix in zip(self.pieces, matrices, strict=True)
            ]
        )
        return ops.segment_sum(columns, self.column_units, self.unit_count)

    def totals(self, units, scope):
        """Sums a vector over all units for each part of a scope.

        Args:
            units: A vector `(unit_count,)`.
            scope: `"network"`, `"layers"` or `"units"`.

        Returns:
            A scalar for the network, a vector `(layers,)`, or the vector itself.
        """
        check_scope(scope)
        if scope == "network":
            return ops.sum(units)
        if scope == "layers":
            return ops.segment_sum(units, self.unit_layers, len(self.layers))
        return units

    def named(self, values, scope):
        """Returns values of a scope by name: a scalar, `{layer: scalar}` or `{layer: (units,)}`.

        Args:
            values: A scalar, a vector `(layers,)` or a vector `(unit_count,)`, as in `totals`.
            scope: `"network"`, `"layers"` or `"units"`.
        """
        check_scope(scope)
        if scope == "network":
            return values
        if scope == "layers":
            return {layer: values[number] for number, layer in enumerate(self.layers)}
        ends = itertools.accumulate(self.layers.values())
        return {
            layer: values[end - units : end]
            for end, (layer, units) in zip(ends, self.layers.items(), strict=True)
        }

    def layer_part(self, tensors, layer):
        """Returns a list of the tensors of one layer, and `None` in place of all others.

        Raises:
            ValueError: if there is no such layer; the message lists the layers.
        """
        self.check_layer(layer)
        return [
            tensor if key == layer else None
            for key, tensor in zip(self._keys, tensors, strict=True)
        ]

    def keys_of(self, weights):
        """Returns the layer of each weight, by the number (`id`) of the weight."""
        return {id(weight): key for weight, key in zip(weights, self._keys, strict=True)}

    def layer_units(self, layer):
        """Returns the numbers of a layer's units among all units, as a range."""
        self.check_layer(layer)
        numbers = dict(
            zip(self.layers, itertools.accumulate(self.layers.values(), initial=0), strict=False)
        )
        return range(numbers[layer], numbers[layer] + self.layers[layer])

    def unit_part(self, tensors, unit):
        """Returns a list of tensors in which only one unit's entries are left, others are zero.

        Args:
            tensors: Tensors shaped like the weights; some may be `None`, and stay so.
            unit: Number of the unit among all units; an integer or a scalar tensor.
        """
        return [
            None if tensor is None else self._masked(index, tensor, unit)
            for index, tensor in enumerate(tensors)
        ]

    def scaled(self, tensors, factors):
        """Returns tensors with each unit's entries multiplied by a factor of its own.

        Args:
            tensors: Tensors shaped like the weights; some may be `None`, and stay so.
            factors: A vector over all units, `(unit_count,)`.
        """
        cuts = zip(tensors, self.first_units, self.unit_counts, strict=True)
        return [
            None
            if tensor is None
            else ops.reshape(
                ops.reshape(tensor, (-1, count)) * factors[first : first + count], tensor.shape
            )
            for tensor, first, count in cuts
        ]

    def _masked(self, index, tensor, unit):
        first, count = self.first_units[index], self.unit_counts[index]
        mask = ops.cast(ops.equal(ops.arange(first, first + count), unit), tensor.dtype)
        matrix = ops.reshape(tensor, (-1, count)) * mask
        return ops.reshape(matrix, self.shapes[index])

    def check_layer(self, layer):
        """Raises a ValueError, which lists the layers, unless the layer is one of them."""
        if layer not in self.layers:
            raise ValueError(f"unknown layer {layer!r}: expected one of {', '.join(self.layers)}")

    def check_shapes(self, tensors, what):
        """Raises a ValueError unless there is one tensor a weight, each of its weight's shape."""
        shapes = [tuple(ops.shape(tensor)) for tensor in tensors]
        if shapes != self.shapes:
            raise ValueError(
                f"{what} must be a list of arrays shaped like the model's trainable variables: "
                f"expected shapes {self.shapes}, received {shapes}"
            )


def check_scope(scope):
    """Raises a ValueError, which lists the scopes, unless the scope is one of them."""
    if scope not in SCOPES:
        raise ValueError(f"unknown scope {scope!r}: expected one of {', '.join(SCOPES)}")


def layer_keys(paths):
    """Returns the key of the layer of each weight.

    The key is the path without its last part, or the path itself where it has one part only. A
    path that comes again belongs to another layer of the same name, whose key gets a suffix.

    Example:

    >>> layer_keys(["a/kernel", "a/bias", "a/kernel", "a/bias"])
    ['a', 'a', 'a_1', 'a_1']
    """
    names = [path.rpartition("/")[0] or path for path in paths]
    seen, keys, taken = collections.Counter(), {}, set(names)
    result = []
    for name, path in zip(names, paths, strict=True):
        copy = (name, seen[path])
        seen[path] += 1
        if copy not in keys:
            keys[copy] = name if copy[1] == 0 else _free_name(name, taken)
            taken.add(keys[copy])
        result.append(keys[copy])
    return result


def _free_name(name, taken):
    suffixed = (f"{name}_{number}" for number in itertools.count(1))
    return next(candidate for candidate in suffixed if candidate not in taken)


def _unit_counts(keys, weights):
    vectors = {
        (key, weight.shape[0])
        for key, weight in zip(keys, weights, strict=True)
        if len(weight.shape) == 1
    }
    return [
        _units(weight, {length for layer, length in vectors if layer == key})
        for key, weight in zip(keys, weights, strict=True)
    ]


def _numbered(groups):
    """Returns the number of each weight's first unit, and the number of units of each layer.

    Args:
        groups: Layer and number of units of each weight; equal ones share their units.
    """
    layers = {layer: 0 for layer, _ in groups}
    offsets = {}
    for layer, units in dict.fromkeys(groups):
        offsets[layer, units] = layers[layer]
        layers[layer] += units
    starts = dict(zip(layers, itertools.accumulate(layers.values(), initial=0), strict=False))
    return [starts[layer] + offsets[layer, units] for layer, units in groups], layers


def _pieces(shapes, counts):
    rows = [math.prod(shape) // units for shape, units in zip(shapes, counts, strict=True)]
    pieces = [
        Piece((index,), count, (counts[index],)) for index, count in enumerate(rows) if count > 1
    ]
    vectors = tuple(index for index, count in enumerate(rows) if count == 1)
    if vectors:
        pieces.append(Piece(vectors, 1, tuple(counts[index] for index in vectors)))
    return pieces


def _concatenated(arrays):
    return np.concatenate(list(arrays)).astype("int32")


def _units(weight, vector_lengths):
    shape = tuple(weight.shape)
    if not shape:
        return 1
    if len(shape) >= 3:
        flattened = shape[-2] * shape[-1]
        is_named = bool(DEPTHWISE.search(weight.path))
        if is_named or (flattened in vector_lengths and shape[-1] not in vector_lengths):
            return flattened
    return shape[-1]


def _side_by_side(matrices):
    return matrices[0] if len(matrices) == 1 else ops.concatenate(matrices, axis=1)
