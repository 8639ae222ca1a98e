"""How a run explores activation configurations: snapshots of a probe, and what they compare to.

The activation configuration of an input is the bit of every rectifier (on or off) and the winner
of every max-pooling window. A snapshot holds those of a fixed set of inputs, the probe, at one
moment of training, packed eight to a byte.

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

# Bytes are padded to words, which are compared and counted at once.
WORD = 8
BATCH_SIZE = 256


@dataclasses.dataclass(frozen=True)
class Bits:
    """The configuration of one layer for a probe.

    Args:
        kind: `"rectifier"` or `"pool"`.
        packed: Bytes `(planes, examples, bytes)`, as of `numpy.packbits` along the elements of an
            example, padded with zeros to a multiple of eight bytes. A rectifier has a plane for
            each of its kinks; pooling windows have one for each digit of the winner's number.
        shape: `(places..., units)`, the shape of an example's elements.
    """

    kind: str
    packed: np.ndarray
    shape: tuple

    @property
    def elements(self):
        """How many things can switch for one example: kinks of rectifiers, or windows."""
        planes = len(self.packed) if self.kind == rectifiers.RECTIFIER else 1
        return planes * math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The configurations of a probe at one moment: `{layer: Bits}`."""

    layers: dict

    @property
    def nbytes(self):
        """Bytes of the packed configurations."""
        return sum(bits.packed.nbytes for bits in self.layers.values())


class Probe:
    """Takes snapshots of a model on fixed inputs, each for about one forward pass.

    Args:
        model: A built Keras model.
        x: Inputs, arrays in the structure that the model takes.
        batch_size: Examples in a forward pass.

    Raises:
        ValueError: if there are no examples, or they are not what the model takes; on the first
            snapshot, if the model has no rectifier that can be seen.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, "relu")])
    >>> probe = Probe(model, np.ones((3, 2)))
    >>> snapshot = probe.snapshot()
    >>> {name: bits.shape for name, bits in snapshot.layers.items()} == {model.layers[0].name: (4,)}
    True
    """

    def __init__(self, model, x, batch_size=BATCH_SIZE):
        x = keras.tree.map_structure(np.asarray, x)
        _check_inputs(model, x)
        self._model, self._described = model, None
        self._batches = tf.data.Dataset.from_tensor_slices(x).batch(batch_size).cache()
        self._read = tf.function(self._planes, autograph=False, reduce_retracing=True)

    def snapshot(self):
        """Returns the `Snapshot` of the present weights."""
        found = [[_pack(part.numpy()) for part in self._read(batch)] for batch in self._batches]
        joined = [np.concatenate(parts, axis=1) for parts in zip(*found, strict=True)]
        return Snapshot(
            {
                name: Bits(kind, packed, shape)
                for (name, kind, shape), packed in zip(self._described, joined, strict=True)
            }
        )

    def _planes(self, x):
        readings = rectifiers.read(self._model, x)
        self._described = [(r.name, r.kind, tuple(r.planes[0].shape[1:])) for r in readings]
        return [tf.stack(r.planes) for r in readings]


def hamming(one, other):
    """Returns how many elements differ between snapshots: `{layer: (examples,)}` of integers."""
    return {
        name: np.bitwise_count(mask.view("uint64")).sum(axis=(0, 2), dtype="int64")
        for name, mask in _masks(one, other)
    }


def hamming_share(one, other):
    """Returns the share of all elements of all examples that differ between snapshots."""
    switched = sum(counts.sum() for counts in hamming(one, other).values())
    examples = next(iter(one.layers.values())).packed.shape[1]
    return float(switched / (examples * sum(bits.elements for bits in one.layers.values())))


def nearest_share(snapshot, earlier):
    """Returns the least `hamming_share` to some earlier snapshots; NaN if there are none."""
    return min((hamming_share(snapshot, other) for other in earlier), default=math.nan)


def unit_switches(one, other):
    """Returns the share of a unit's elements that differ, over examples and places.

    Returns:
        `{layer: (units,)}`.
    """
    return {
        name: _by_unit(mask, one.layers[name].shape).mean(axis=0)
        for name, mask in _masks(one, other)
    }


def unit_frequency(snapshot):
    """Returns how often each rectifier unit is on, over examples and places, from 0 to 1.

    Returns:
        `{layer: (units,)}`, of the layers that rectify.
    """
    return {
        name: _by_unit(bits.packed[:1], bits.shape)[0]
        for name, bits in snapshot.layers.items()
        if bits.kind == rectifiers.RECTIFIER
    }


def dead_share(frequency):
    """Returns the share of units that are off for every example and place; NaN without units."""
    return _share(frequency, 0.0)


def always_on_share(frequency):
    """Returns the share of units that are on for every example and place; NaN without units."""
    return _share(frequency, 1.0)


def digests(snapshot):
    """Returns a digest of each example's configuration, a set of bytes: equal for equal ones."""
    rows = np.concatenate(
        [np.concatenate(bits.packed, axis=1) for bits in snapshot.layers.values()], axis=1
    )
    return {hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows}


def _share(frequency, value):
    units = np.concatenate([*frequency.values(), np.zeros(0)])
    return float(np.mean(units == value)) if len(units) else math.nan


def _masks(one, other):
    """Yields each layer's name and what differs: bytes `(kinks or 1, examples, bytes)`."""
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
    places = math.prod(shape)
    bits = np.unpackbits(packed, axis=-1, count=places)
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
