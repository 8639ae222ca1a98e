"""One part of the weights (the network, a layer, a unit), as a vector and as tensors."""

import math

import numpy as np
from keras import ops

ONE_PART = "'network', 'layer:<key>' or 'unit:<key>/<number>'"


class Part:
    """One part of the weights.

    Args:
        scopes: The `keras_taylor.weights.scopes.Scopes` that cut the weights.
        name: `"network"`, `"layer:<key>"` or `"unit:<key>/<number>"`.

    Attributes:
        layer: The key of the layer that the part lies in; `None` for the network.
        unit: The number of the unit within its layer; `None` for a layer and the network.
        units: Numbers of the part's units among all units of the network, as a range.

    Raises:
        ValueError: if there is no such part; the message lists the layers.

    Example:

    >>> from keras_taylor.weights.scopes import Scopes
    >>> layers = [keras.Input((3,)), keras.layers.Dense(2, name="a")]
    >>> model = keras.Sequential(layers, name="net")
    >>> part = Part(Scopes(model.trainable_variables), "unit:net/a/1")
    >>> part.vector([np.array([[1, 2], [3, 4], [5, 6]]), np.array([7, 8])])
    array([2., 4., 6., 8.])
    """

    def __init__(self, scopes, name):
        self.scopes, self.name = scopes, name
        if name in ("layers", "units"):
            raise ValueError(f"scope {name!r} has several parts: expected {ONE_PART}")
        _, self.layer, self.unit = scopes.locate(name)
        numbers = range(scopes.unit_count) if self.layer is None else scopes.layer_units(self.layer)
        self.units = numbers if self.unit is None else numbers[self.unit : self.unit + 1]

    @property
    def weights(self):
        """Places of the weights that the part has an entry in, in the list of all weights."""
        scopes = self.scopes
        cuts = enumerate(zip(scopes.first_units, scopes.unit_counts, strict=True))
        return [
            place
            for place, (first, count) in cuts
            if first < self.units.stop and self.units.start < first + count
        ]

    @property
    def size(self):
        """The number of weights in the part."""
        shapes = [self.scopes.shapes[place] for place in self.weights]
        if self.unit is None:
            return sum(math.prod(shape) for shape in shapes)
        counts = [self.scopes.unit_counts[place] for place in self.weights]
        pairs = zip(shapes, counts, strict=True)
        return sum(math.prod(shape) // count for shape, count in pairs)

    def vector(self, arrays):
        """Returns the part's entries of arrays like the weights, a float64 vector `(size,)`."""
        taken = [self._entries(place, np.asarray(arrays[place])) for place in self.weights]
        return np.concatenate([entries.ravel() for entries in taken]).astype("float64")

    def arrays(self, vector, rest):
        """Returns float64 arrays like the weights: the part's from a vector, others from a list.

        Args:
            vector: The part's entries, `(size,)`.
            rest: Arrays like the weights, for the entries outside of the part.
        """
        arrays = [np.array(array, "float64") for array in rest]
        end = 0
        for place in self.weights:
            entries = self._entries(place, arrays[place])
            begin, end = end, end + entries.size
            entries[...] = vector[begin:end].reshape(entries.shape)
        return arrays

    def tensors(self, vector):
        """Returns a vector of the part as tensors like the weights, zero outside of the part.

        In a graph. Weights that the part has no entry in are `None`.
        """
        found, begin = [None] * len(self.scopes.shapes), 0
        for place in self.weights:
            shape, count = self.scopes.shapes[place], self.scopes.unit_counts[place]
            size = math.prod(shape) if self.unit is None else math.prod(shape) // count
            entries, begin = vector[begin : begin + size], begin + size
            if self.unit is not None:
                number = self.units.start - self.scopes.first_units[place]
                entries = entries[:, None] * ops.one_hot(number, count, dtype=vector.dtype)
            found[place] = ops.reshape(entries, shape)
        return found

    def flat(self, tensors):
        """Returns the part's entries of tensors like the weights, a float64 tensor `(size,)`."""
        taken = []
        for place in self.weights:
            entries = ops.cast(tensors[place], "float64")
            if self.unit is not None:
                number = self.units.start - self.scopes.first_units[place]
                count = self.scopes.unit_counts[place]
                entries = ops.reshape(entries, (-1, count))[:, number]
            taken.append(ops.reshape(entries, (-1,)))
        return ops.concatenate(taken)

    def cut(self, tensors):
        """Returns tensors like the weights with only the part left.

        Weights that the part has no entry in become `None`; in the others, entries outside of the
        part become zero.
        """
        if self.layer is None:
            return list(tensors)
        kept = self.scopes.layer_part(tensors, self.layer)
        if self.unit is None:
            return kept
        cut = self.scopes.unit_part(kept, self.units.start)
        return [cut[place] if place in self.weights else None for place in range(len(cut))]

    def _entries(self, place, array):
        """Returns the part's entries of one weight, as a view of the array."""
        if self.unit is None:
            return array
        first, count = self.scopes.first_units[place], self.scopes.unit_counts[place]
        return array.reshape(-1, count)[:, self.units.start - first]


def part_names(scopes, scope):
    """Returns the names of all parts in a scope.

    Args:
        scopes: The `keras_taylor.weights.scopes.Scopes`.
        scope: `"network"`, `"layers"`, `"units"`, `"layer:<key>"` or `"unit:<key>/<number>"`.

    Raises:
        ValueError: if the scope is unknown; the message lists the layers.
    """
    if scope == "layers":
        return [f"layer:{layer}" for layer in scopes.layers]
    if scope == "units":
        return [f"unit:{layer}/{n}" for layer, count in scopes.layers.items() for n in range(count)]
    scopes.locate(scope)
    return [scope]


def by_scope(scopes, scope, values):
    """Returns values, in the order of `part_names`, as every function with a scope returns them.

    Values may end early, as those of an interrupted solve do.

    Returns:
        The value for one part, `{layer: value}` for `"layers"`, `{layer: [value, ...]}` for
        `"units"`.
    """
    if scope == "layers":
        return dict(zip(scopes.layers, values, strict=False))
    if scope != "units":
        return values[0]
    units = {layer: scopes.layer_units(layer) for layer in scopes.layers}
    found = {layer: list(values[numbers.start : numbers.stop]) for layer, numbers in units.items()}
    return {layer: of_layer for layer, of_layer in found.items() if of_layer}
