"""One part of the weights (the network, a layer, a unit) as a vector."""

import math

import numpy as np
from keras import ops


class Part:
    """A part of the weights as a vector of float64.

    Args:
        scopes: The `keras_taylor.weights.scopes.Scopes` that cut the weights.
        name: `"network"`, `"layer:<key>"` or `"unit:<key>/<number>"`.

    Attributes:
        layer: The key of the layer that the part is in; `None` for the network.
        unit: The number of the unit in the layer; `None` for a layer.
        units: Numbers of the part's units among all units.

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
        kind, _, rest = name.partition(":")
        self.scopes, self.name, self.layer, self.unit = scopes, name, None, None
        sizes = [math.prod(shape) for shape in scopes.shapes]
        everything = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
        everything = [n.reshape(s) for n, s in zip(everything, scopes.shapes, strict=True)]
        if name == "network":
            kept = everything
        elif kind == "layer":
            self.layer = rest
            kept = scopes.layer_part(everything, rest)
        elif kind == "unit" and rest.rpartition("/")[2].isdigit():
            layer, _, number = rest.rpartition("/")
            units = scopes.layer_units(layer)
            if int(number) >= len(units):
                raise ValueError(f"layer {layer!r} has {len(units)} units, asked for {number}")
            self.layer, self.unit = layer, int(number)
            ones = [np.ones(shape) for shape in scopes.shapes]
            mask = scopes.unit_part(ones, units[int(number)])
            kept = [
                n[np.asarray(m) > 0]
                for n, m in zip(scopes.layer_part(everything, layer), mask, strict=True)
                if n is not None
            ]
        else:
            raise ValueError(
                f"unknown scope {name!r}: expected 'network', 'layers', 'layer:<key>' or "
                f"'unit:<key>/<number>', with a key of {', '.join(scopes.layers)}"
            )
        self._places = np.concatenate([n.ravel() for n in kept if n is not None])
        self._moves = [np.isin(n, self._places) for n in everything]
        counts = scopes.unit_sums(scopes.matrices([m.astype("float64") for m in self._moves]))
        self.units = np.flatnonzero(np.asarray(counts))

    def vector(self, arrays):
        """Returns the part's entries of arrays like the weights."""
        flat = np.concatenate([np.asarray(a, "float64").ravel() for a in arrays])
        return flat[self._places]

    def arrays(self, vector, rest):
        """Returns arrays like the weights, with the part's entries from a vector."""
        flat = np.concatenate([np.array(a, "float64").ravel() for a in rest])
        flat[self._places] = vector
        ends = np.cumsum([math.prod(shape) for shape in self.scopes.shapes])[:-1]
        return [
            a.reshape(shape)
            for a, shape in zip(np.split(flat, ends), self.scopes.shapes, strict=True)
        ]

    def moves_weights(self):
        """Returns for each weight whether the part has an entry in it."""
        return [bool(moves.any()) for moves in self._moves]

    def cut(self, tensors):
        """Returns tensors of a graph with those outside of the part zero or `None`."""
        return [
            None
            if not moves.any()
            else tensor
            if moves.all()
            else tensor * ops.cast(moves, tensor.dtype)
            for tensor, moves in zip(tensors, self._moves, strict=True)
        ]
