"""How the weights of a model are cut into a network, its layers and their units."""

import itertools

import numpy as np
from keras import ops

from keras_taylor.weights.pieces import Pieces
from keras_taylor.weights.scope_names import SCOPES, parsed
from keras_taylor.weights.units import layer_keys, numbered, unit_counts


class Scopes:
    """The cut of a list of weights into network, layers and units.

    A layer holds all weights whose paths begin alike: `block1/dense` holds `block1/dense/kernel`
    and `block1/dense/bias`. (In a Sequential and in a subclassed model, Keras begins the paths
    with the model's name; in a functional model it does not.) If two layers have the same path,
    the later one gets a suffix (`dense_1`).

    A unit is one index of the last axis of all weights of a layer: a column of a kernel, with its
    bias. For a depthwise kernel it is one index of the last two axes, flattened. The weights of a
    layer may differ in their number of units (as in a separable convolution). Such a layer has
    the units of the first number, then the units of the next.

    A kernel counts as depthwise in two cases: its layer has a vector as long as the kernel's last
    two axes together, or its layer has the name that Keras gives to depthwise layers. Weights do
    not know the class of their layer. So a depthwise layer that was renamed and has no bias is
    cut along its last axis alone.

    A vector over all units holds the units of one layer after those of another. The arithmetic
    uses matrices `(rows, columns)` in which each column belongs to one unit, one matrix for each
    of `pieces` (see `keras_taylor.weights.pieces`).

    Args:
        weights: The `keras.Variable`s, in the order of the tensors that are cut later.

    Attributes:
        layers: `{layer key: number of units}`, in the order of the weights.
        unit_count: The number of all units.
        shapes: The shape of each weight.
        unit_counts: The number of units of each weight.
        first_units: The number of each weight's first unit, among all units.
        pieces: The `Piece`s that the matrices follow.
        unit_layers: The number of the layer of each unit, `(unit_count,)`.

    Raises:
        ValueError: if there is no weight.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="a")], name="net")
    >>> scopes = Scopes(model.trainable_variables)
    >>> scopes.layers
    {'net/a': 2}
    >>> [matrix.shape for matrix in scopes.matrices(model.trainable_variables)]
    [TensorShape([1, 8])]
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
        counts = unit_counts(keys, weights)
        firsts, self.layers = numbered(list(zip(keys, counts, strict=True)))
        self._keys, self.unit_counts, self.first_units = keys, counts, firsts
        self.unit_count = sum(self.layers.values())
        self._cut = Pieces(self.shapes, counts, firsts)
        self.pieces = self._cut.pieces
        lengths = list(self.layers.values())
        self.unit_layers = np.repeat(np.arange(len(lengths)), lengths).astype("int32")

    def matrices(self, tensors):
        """Returns tensors shaped like the weights as matrices `(rows, columns)`, one a piece."""
        return self._cut.matrices(tensors)

    def tensors(self, matrices):
        """Returns matrices, one for each piece, as tensors shaped like the weights."""
        return self._cut.tensors(matrices)

    def unit_sums(self, matrices):
        """Returns the sum over the entries of each unit, as one vector `(unit_count,)`.

        Args:
            matrices: Matrices `(rows, columns)`, one for each piece.
        """
        return self._cut.unit_sums(matrices)

    def inner_products(self, pairs):
        """Returns the inner products of the units of pairs, `(pairs, unit_count)`.

        Args:
            pairs: Pairs of lists of matrices `(rows, columns)`, one matrix for each piece.
        """
        return self._cut.inner_products(pairs)

    def totals(self, units, kind):
        """Sums a vector over all units within each part of one kind.

        Args:
            units: A vector `(unit_count,)`.
            kind: `"network"`, `"layers"` or `"units"`.

        Returns:
            A scalar for the network, a vector `(layers,)`, or the vector itself.

        Raises:
            ValueError: if the kind is another one.
        """
        if kind not in SCOPES:
            raise ValueError(f"unknown scope {kind!r}: expected one of {', '.join(SCOPES)}")
        if kind == "network":
            return ops.sum(units)
        if kind == "layers":
            return ops.segment_sum(units, self.unit_layers, len(self.layers))
        return units

    def named(self, values, scope):
        """Returns the values that a scope asks for, under the names of the layers.

        Args:
            values: The values of all parts of the kind of the scope: one value for the network, or
                a tensor `(layers, ...)` or `(unit_count, ...)`.
            scope: Any scope.

        Returns:
            The value for `"network"`, `{layer: value}` for `"layers"`, `{layer: (units, ...)}` for
            `"units"`, and the value of that part for one layer or one unit.

        Raises:
            ValueError: if there is no such scope; the message lists what there is.

        Example:

        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="net")
        >>> scopes = Scopes(model.trainable_variables)
        >>> values = np.array([5.0, 7.0])  # one for each unit
        >>> float(scopes.named(values, f"unit:{list(scopes.layers)[0]}/1"))
        7.0
        """
        kind, layer, unit = self.locate(scope)
        if kind == "network":
            return values
        if kind == "layers":
            by_layer = {key: values[number] for number, key in enumerate(self.layers)}
        else:
            by_layer = {
                key: values[units.start : units.stop] for key, units in self._ranges().items()
            }
        if layer is None:
            return by_layer
        return by_layer[layer] if unit is None else by_layer[layer][unit]

    def locate(self, scope):
        """Returns what a scope names: its kind, the key of its layer, the number of its unit.

        Args:
            scope: Any scope.

        Returns:
            A tuple of `"network"`, `"layers"` or `"units"`; the layer's key or `None`; and the
            unit's number in its layer or `None`.

        Raises:
            ValueError: if there is no such scope; the message lists the scopes, the layers, or
                says how many units the layer has.
        """
        kind, layer, unit = parsed(scope, self.layers)
        if layer is not None:
            self.check_layer(layer)
        if unit is not None and unit >= self.layers[layer]:
            unit_count = self.layers[layer]
            raise ValueError(
                f"unknown unit {unit} in scope {scope!r}: layer {layer!r} has {unit_count} units, "
                f"numbered from 0 to {unit_count - 1}"
            )
        return kind, layer, unit

    def layer_part(self, tensors, layer):
        """Returns the tensors of one layer, with `None` in place of all others.

        Args:
            tensors: Tensors shaped like the weights.
            layer: The key of the layer.

        Returns:
            A list as long as `tensors`.

        Raises:
            ValueError: if there is no such layer; the message lists the layers.
        """
        self.check_layer(layer)
        return [
            tensor if key == layer else None
            for key, tensor in zip(self._keys, tensors, strict=True)
        ]

    def keys_of(self, weights):
        """Returns `{id(weight): layer key}` for the weights, in the order of this cut."""
        return {id(weight): key for weight, key in zip(weights, self._keys, strict=True)}

    def layer_units(self, layer):
        """Returns the numbers of a layer's units among all units, as a range.

        Raises:
            ValueError: if there is no such layer; the message lists the layers.
        """
        self.check_layer(layer)
        return self._ranges()[layer]

    def _ranges(self):
        ends = itertools.accumulate(self.layers.values())
        return {
            layer: range(end - unit_count, end)
            for end, (layer, unit_count) in zip(ends, self.layers.items(), strict=True)
        }

    def unit_part(self, tensors, unit):
        """Returns tensors that keep the entries of one unit and are zero elsewhere.

        Args:
            tensors: Tensors shaped like the weights. Where one is `None`, the result is `None`.
            unit: The number of the unit among all units: an integer or a scalar tensor.
        """
        return [
            None if tensor is None else self._masked(index, tensor, unit)
            for index, tensor in enumerate(tensors)
        ]

    def scaled(self, tensors, factors):
        """Returns tensors with the entries of each unit multiplied by the unit's factor.

        Args:
            tensors: Tensors shaped like the weights. Where one is `None`, the result is `None`.
            factors: A factor for each unit, `(unit_count,)`.
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
        """Raises a ValueError that lists the layers if there is no layer with this key."""
        if layer not in self.layers:
            raise ValueError(f"unknown layer {layer!r}: expected one of {', '.join(self.layers)}")

    def check_shapes(self, tensors, what):
        """Raises a ValueError unless there is one tensor for each weight, of the same shape."""
        shapes = [tuple(ops.shape(tensor)) for tensor in tensors]
        if shapes != self.shapes:
            raise ValueError(
                f"{what} must be a list of arrays shaped like the model's trainable variables: "
                f"expected shapes {self.shapes}, received {shapes}"
            )
