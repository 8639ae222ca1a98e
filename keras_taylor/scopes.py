"""How the weights of a model are cut into a network, its layers and their units."""

import collections
import dataclasses
import itertools
import math

import numpy as np
from keras import ops

SCOPES = ("network", "layers", "units")


@dataclasses.dataclass(frozen=True)
class Block:
    """Weights of one layer that have the same units, seen as one matrix `(rows, units)`.

    Args:
        layer: Key of the layer.
        weights: Places of these weights in the list of all weights.
        rows: How many rows of the matrix each of them fills.
        units: Number of columns.
    """

    layer: str
    weights: tuple
    rows: tuple
    units: int


class Scopes:
    """The cut of a list of weights into network, layers and units.

    A layer holds all weights whose path has the same beginning: `block1/dense` for
    `block1/dense/kernel` and `block1/dense/bias`. (Keras lets the paths in a Sequential and in a
    subclassed model begin with the model's name, those in a functional model not.) Where two
    layers have the same path, the later one gets a suffix (`dense_1`).

    A unit is one index of the last axis of all weights of a layer: a column of a kernel with its
    bias. For a depthwise kernel it is one index of its last two axes, flattened. The weights of a
    layer with differing numbers of units (as in a separable convolution) form one block a number,
    and the layer's units are those of the blocks in turn.

    A kernel counts as depthwise if its layer has a vector as long as its last two axes together,
    or if "depthwise" is part of its path; a depthwise layer that is renamed and has no bias is
    cut along its last axis alone, since weights do not know the class of their layer.

    Vectors over all units have the order of `blocks`.

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
    [TensorShape([4, 2])]
    """

    def __init__(self, weights):
        weights = list(weights)
        if not weights:
            raise ValueError(
                "expected at least one trainable weight, but there is none: build the model and "
                "set `trainable = True` on the layers to look at"
            )
        self.shapes = [tuple(weight.shape) for weight in weights]
        self.blocks = _blocks(layer_keys([weight.path for weight in weights]), weights)
        self.layers = collections.defaultdict(int)
        for block in self.blocks:
            self.layers[block.layer] += block.units
        self.layers = dict(self.layers)
        self.unit_count = sum(self.layers.values())
        numbers = {layer: number for number, layer in enumerate(self.layers)}
        self._layer_numbers = np.repeat(
            [numbers[block.layer] for block in self.blocks],
            [block.units for block in self.blocks],
        ).astype("int32")

    def matrices(self, tensors):
        """Returns tensors, shaped like the weights, as one matrix `(rows, units)` a block."""
        return [
            _stacked([ops.reshape(tensors[index], (-1, block.units)) for index in block.weights])
            for block in self.blocks
        ]

    def tensors(self, matrices):
        """Returns one matrix a block as tensors shaped like the weights: undoes `matrices`."""
        result = [None] * len(self.shapes)
        for block, matrix in zip(self.blocks, matrices, strict=True):
            ends = list(itertools.accumulate(block.rows))
            for index, rows, end in zip(block.weights, block.rows, ends, strict=True):
                result[index] = ops.reshape(matrix[end - rows : end], self.shapes[index])
        return result

    def unit_sums(self, matrices):
        """Returns the sum of each column, for all units in one vector `(unit_count,)`."""
        return ops.concatenate([ops.sum(matrix, axis=0) for matrix in matrices])

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
            return ops.segment_sum(units, self._layer_numbers, len(self.layers))
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


def _blocks(keys, weights):
    vectors = {
        (key, weight.shape[0])
        for key, weight in zip(keys, weights, strict=True)
        if len(weight.shape) == 1
    }
    found = {}
    for index, (key, weight) in enumerate(zip(keys, weights, strict=True)):
        units = _units(weight, {length for layer, length in vectors if layer == key})
        found.setdefault((key, units), []).append(index)
    return [
        Block(key, tuple(indices), tuple(_rows(weights[index], units) for index in indices), units)
        for (key, units), indices in _grouped_by_layer(found, keys)
    ]


def _grouped_by_layer(found, keys):
    order = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return sorted(found.items(), key=lambda item: order[item[0][0]])


def _units(weight, vector_lengths):
    shape = tuple(weight.shape)
    if not shape:
        return 1
    if len(shape) >= 3:
        flattened = shape[-2] * shape[-1]
        is_named = "depthwise" in weight.path
        if is_named or (flattened in vector_lengths and shape[-1] not in vector_lengths):
            return flattened
    return shape[-1]


def _rows(weight, units):
    return math.prod(weight.shape) // units


def _stacked(matrices):
    return matrices[0] if len(matrices) == 1 else ops.concatenate(matrices, axis=0)
