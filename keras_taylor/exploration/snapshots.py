"""How a run explores activation configurations: snapshots of a probe and their distances.

The activation configuration of an input is the bit of every rectifier (on or off) and the winner
of every max-pooling window. A snapshot holds the configurations of a fixed set of inputs, the
probe, at one moment of training, with eight bits in a byte.

Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017, for the idea;
the measures are a reconstruction.
"""

import dataclasses
import hashlib
import math

import keras
import numpy as np
import tensorflow as tf

from keras_taylor.exploration import rectifiers

# Bytes are padded to words of this length, because words are compared and counted faster.
WORD = 8
BATCH_SIZE = 256


@dataclasses.dataclass(frozen=True)
class Bits:
    """The configuration of one layer for a probe.

    Args:
        kind: `"rectifier"`, `"leaky"`, `"pool"` or `"smooth"`.
        packed: Bytes `(planes, examples, bytes)`: the elements of an example, packed as by
            `numpy.packbits` and padded with zeros to a multiple of eight bytes. A rectifier has a
            plane for each of its kinks. Pooling windows have a plane for each binary digit of the
            number of the winner.
        shape: `(places..., units)`, the shape of the elements of an example.

    Example:

    >>> bits = Bits("rectifier", np.zeros((1, 3, 8), "uint8"), (2, 5))
    >>> bits.elements
    10
    """

    kind: str
    packed: np.ndarray
    shape: tuple

    @property
    def elements(self):
        """The number of kinks of rectifiers, or of windows, that can switch for one example."""
        planes = 1 if self.kind == rectifiers.POOL else len(self.packed)
        return planes * math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The activation configurations of a probe at one moment of training.

    Args:
        layers: `{layer: Bits}`, in the order of the calls in a forward pass.
    """

    layers: dict

    @property
    def nbytes(self):
        """The memory of the packed configurations, in bytes."""
        return sum(bits.packed.nbytes for bits in self.layers.values())


class Probe:
    """Takes snapshots of a model on fixed inputs. Each costs about one forward pass.

    Args:
        model: A built Keras model.
        x: The inputs: arrays `(examples, ...)` in the structure that the model takes.
        batch_size: The number of examples in a forward pass.
        smooth: Whether units with a smooth activation (GELU, SiLU, ELU and the like) count, too, by
            the sign of their pre-activation.

    Raises:
        ValueError: if there are no examples, or their shapes do not fit the model; at the first
            snapshot, if no rectifier is found in the model.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, "relu")])
    >>> probe = Probe(model, np.ones((3, 2)))
    >>> snapshot = probe.snapshot()
    >>> {name: bits.shape for name, bits in snapshot.layers.items()} == {model.layers[0].name: (4,)}
    True
    """

    def __init__(self, model, x, batch_size=BATCH_SIZE, smooth=False):
        x = keras.tree.map_structure(np.asarray, x)
        _check_inputs(model, x)
        self._model, self._described, self._smooth = model, None, smooth
        self._batches = tf.data.Dataset.from_tensor_slices(x).batch(batch_size).cache()
        self._read = tf.function(self._planes, autograph=False, reduce_retracing=True)

    def snapshot(self):
        """Returns the `Snapshot` of the present weights.

        Raises:
            ValueError: if no rectifier is found in the model.
        """
        found = [[_pack(planes.numpy()) for planes in self._read(batch)] for batch in self._batches]
        joined = [np.concatenate(pieces, axis=1) for pieces in zip(*found, strict=True)]
        return Snapshot(
            {
                name: Bits(kind, packed, shape)
                for (name, kind, shape), packed in zip(self._described, joined, strict=True)
            }
        )

    def _planes(self, x):
        readings = rectifiers.read(self._model, x, smooth=self._smooth)
        self._described = [(r.name, r.kind, tuple(r.planes[0].shape[1:])) for r in readings]
        return [tf.stack(r.planes) for r in readings]


def hamming(one, other):
    """Returns the number of elements that differ between two snapshots, for each example.

    An element is a kink of a rectifier or a pooling window.

    Args:
        one: A `Snapshot`.
        other: A `Snapshot` of the same probe and model.

    Returns:
        `{layer: (examples,)}`, integers.

    Raises:
        ValueError: if the layers of the snapshots differ.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.ReLU(name="relu")])
    >>> one = Probe(model, np.array([[1.0], [-1.0]])).snapshot()
    >>> other = Probe(model, np.array([[2.0], [3.0]])).snapshot()
    >>> hamming(one, other)["relu"]
    array([0, 1])

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017, for the
    idea; the measure is a reconstruction.
    """
    return {
        name: np.bitwise_count(mask.view("uint64")).sum(axis=(0, 2), dtype="int64")
        for name, mask in _masks(one, other)
    }


def hamming_share(one, other):
    """Returns the share of elements, over all examples, that differ between two snapshots.

    Args:
        one: A `Snapshot`.
        other: A `Snapshot` of the same probe and model.

    Returns:
        A number from 0 to 1.

    Raises:
        ValueError: if the layers of the snapshots differ.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.ReLU(name="relu")])
    >>> one = Probe(model, np.array([[1.0], [-1.0]])).snapshot()
    >>> other = Probe(model, np.array([[2.0], [3.0]])).snapshot()
    >>> hamming_share(one, other)
    0.5

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017, for the
    idea; the measure is a reconstruction.
    """
    switched = sum(counts.sum() for counts in hamming(one, other).values())
    examples = next(iter(one.layers.values())).packed.shape[1]
    return float(switched / (examples * sum(bits.elements for bits in one.layers.values())))


def nearest_share(snapshot, earlier):
    """Returns the smallest share of elements that differ from any of some earlier snapshots.

    Args:
        snapshot: A `Snapshot`.
        earlier: A list of `Snapshot` of the same probe and model.

    Returns:
        A number from 0 to 1; NaN if there are no earlier snapshots.

    Raises:
        ValueError: if the layers of the snapshots differ.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.ReLU(name="relu")])
    >>> first, second, third = (
    ...     Probe(model, np.array(x)).snapshot()
    ...     for x in ([[1.0], [-1.0]], [[2.0], [3.0]], [[4.0], [5.0]])
    ... )
    >>> nearest_share(third, [first, second])
    0.0

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017, for the
    idea; the measure is a reconstruction.
    """
    return min((hamming_share(snapshot, other) for other in earlier), default=math.nan)


def unit_frequency(snapshot, kind=rectifiers.RECTIFIER):
    """Returns how often each rectifier unit is on: a mean over examples and places.

    Args:
        snapshot: A `Snapshot`.
        kind: `"rectifier"`, or `"leaky"` or `"smooth"` for how often the pre-activations of leaky
            rectifiers (which learn below zero too) or of smooth units are positive.

    Returns:
        `{layer: (units,)}` for the layers of that kind, numbers from 0 to 1.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.ReLU(name="relu")])
    >>> unit_frequency(Probe(model, np.array([[1.0], [-1.0]])).snapshot())["relu"]
    array([0.5])
    """
    return {
        name: _by_unit(bits.packed[:1], bits.shape)[0]
        for name, bits in snapshot.layers.items()
        if bits.kind == kind
    }


def dead_unit_numbers(frequency):
    """Returns which units are off for every example and place.

    Args:
        frequency: `{layer: (units,)}`, as `unit_frequency` returns it.

    Returns:
        `{layer: [number, ...]}`, the layers that have such units and these, from 0 on.

    Example:

    >>> dead_unit_numbers({"a": np.array([0.0, 0.5, 0.0]), "b": np.array([1.0, 0.1])})
    {'a': [0, 2]}
    """
    found = {layer: np.flatnonzero(units == 0).tolist() for layer, units in frequency.items()}
    return {layer: numbers for layer, numbers in found.items() if numbers}


def dead_share(frequency):
    """Returns the share of units that are off for every example and place.

    Args:
        frequency: `{layer: (units,)}`, as `unit_frequency` returns it.

    Returns:
        A number from 0 to 1; NaN if there are no units.

    Example:

    >>> dead_share({"a": np.array([0.0, 0.5]), "b": np.array([1.0, 0.1])})
    0.25
    """
    return _share(frequency, 0.0)


def always_on_share(frequency):
    """Returns the share of units that are on for every example and place.

    Args:
        frequency: `{layer: (units,)}`, as `unit_frequency` returns it.

    Returns:
        A number from 0 to 1; NaN if there are no units.

    Example:

    >>> always_on_share({"a": np.array([0.0, 0.5]), "b": np.array([1.0, 1.0])})
    0.5
    """
    return _share(frequency, 1.0)


def digests(snapshot):
    """Returns the digests of the configurations of single examples, without repetition.

    Equal configurations have equal digests, so the length is the number of configurations.

    Args:
        snapshot: A `Snapshot`.

    Returns:
        A set of `bytes`.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.ReLU(name="relu")])
    >>> len(digests(Probe(model, np.array([[1.0], [-1.0], [2.0]])).snapshot()))
    2
    """
    rows = np.concatenate(
        [np.concatenate(bits.packed, axis=1) for bits in snapshot.layers.values()], axis=1
    )
    return {hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows}


def _share(frequency, value):
    units = np.concatenate([*frequency.values(), np.zeros(0)])
    return float(np.mean(units == value)) if len(units) else math.nan


def _masks(one, other):
    """Yields each layer's name and a mask of the elements that differ, packed as in `Bits`."""
    if list(one.layers) != list(other.layers):
        raise ValueError(
            f"snapshots are of different models: layers {list(one.layers)} and {list(other.layers)}"
        )
    for name, bits in one.layers.items():
        mask = bits.packed ^ other.layers[name].packed
        if bits.kind == rectifiers.POOL:
            mask = np.bitwise_or.reduce(mask, axis=0, keepdims=True)
        yield name, mask


def _by_unit(packed, shape):
    """Returns the share of ones of each unit, `(planes, units)`."""
    bits = np.unpackbits(packed, axis=-1, count=math.prod(shape))
    by_unit = bits.reshape(len(packed), -1, shape[-1])
    return by_unit.sum(axis=1, dtype="uint32") / by_unit.shape[1]


def _pack(planes):
    """Returns booleans `(planes, examples, ...)` as bytes `(planes, examples, bytes)`."""
    packed = np.packbits(planes.reshape(*planes.shape[:2], -1), axis=-1)
    return np.pad(packed, ((0, 0), (0, 0), (0, -packed.shape[-1] % WORD)))


def _check_inputs(model, x):
    arrays = keras.tree.flatten(x)
    if not arrays or not all(array.ndim and len(array) for array in arrays):
        raise ValueError("the probe has no examples: expected inputs like those of `fit`")
    expected = [tuple(tensor.shape[1:]) for tensor in getattr(model, "inputs", None) or []]
    found = [array.shape[1:] for array in arrays]
    fits = len(expected) in (0, len(found)) and all(
        len(one) == len(other) and all(a in (None, b) for a, b in zip(one, other, strict=True))
        for one, other in zip(expected, found, strict=False)
    )
    if not fits:
        raise ValueError(
            f"the probe's examples have shapes {found}, model {model.name!r} takes {expected}"
        )
