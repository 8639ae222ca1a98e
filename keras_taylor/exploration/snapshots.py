"""Snapshots of the activation configurations of a probe.

The activation configuration of an input is the bit of every rectifier (on or off) and the winner
of every max-pooling window. A snapshot holds the configurations of a fixed set of inputs, the
probe, at one moment of training, with eight bits in a byte.

Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017, for the idea;
the measures are a reconstruction.
"""

import dataclasses
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
