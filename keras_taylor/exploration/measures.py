"""How a run explores activation configurations: what snapshots of a probe compare to.

Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017, for the idea;
the measures are a reconstruction.
"""

import hashlib
import math

import numpy as np

from keras_taylor.exploration import rectifiers


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
    >>> one = keras_taylor.exploration.Probe(model, np.array([[1.0], [-1.0]])).snapshot()
    >>> other = keras_taylor.exploration.Probe(model, np.array([[2.0], [3.0]])).snapshot()
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
    >>> one = keras_taylor.exploration.Probe(model, np.array([[1.0], [-1.0]])).snapshot()
    >>> other = keras_taylor.exploration.Probe(model, np.array([[2.0], [3.0]])).snapshot()
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
    ...     keras_taylor.exploration.Probe(model, np.array(x)).snapshot()
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
    >>> probe = keras_taylor.exploration.Probe(model, np.array([[1.0], [-1.0]]))
    >>> unit_frequency(probe.snapshot())["relu"]
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
    >>> probe = keras_taylor.exploration.Probe(model, np.array([[1.0], [-1.0], [2.0]]))
    >>> len(digests(probe.snapshot()))
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
