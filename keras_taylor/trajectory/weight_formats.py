"""The formats in which the weights of recorded rounds are stored: exactly, or in fewer bytes."""

import numpy as np
import tensorflow as tf

from keras_taylor.trajectory import sealed

FORMATS = ("exact", "float32", "bfloat16")
FIRST = "first.npz"


def first_weights(path, run):
    """Returns `W^1`, arrays, from the directory that it was written into for a run of that id."""
    return sealed.read_arrays(path / FIRST, run)[0]


class WeightFormat:
    """Encodes the weights of rounds for the disk and decodes them.

    `"exact"` stores weights in their own dtype, `"float32"` in float32. `"bfloat16"` stores
    `W^n - W^1` with eight bits of precision: the error is at most 1/256 of each displacement,
    however large the weights are.

    Args:
        name: One of `FORMATS`.

    Attributes:
        error: The largest `||stored - W^n|| / ||W^n - W^1||` of the rounds so far; zero for
            `"exact"`.

    Example:

    >>> weight_format = WeightFormat("bfloat16")
    >>> weight_format.begin([np.array([100.0, 100.0])])
    >>> stored = weight_format.encode([np.array([100.5, 99.75])])
    >>> weight_format.decode(stored)
    [array([100.5 ,  99.75])]
    """

    def __init__(self, name):
        self.name, self.error = name, 0.0
        self._first_weights = None

    def begin(self, weights):
        """Takes `W^1`, the weights of the first round, from which displacements are counted."""
        self._first_weights = [np.array(weight) for weight in weights]

    def save(self, path, run, always=False):
        """Writes `W^1` into a directory, if the format needs it for decoding, or always."""
        if always or self.name != "exact":
            sealed.write_arrays(path / FIRST, run, self._first_weights)

    def load(self, path, run):
        """Reads what `save` wrote for a run of that id."""
        if self.name != "exact":
            self._first_weights = first_weights(path, run)

    def encode(self, weights):
        """Returns the arrays to store for the weights of a round."""
        if self.name == "exact":
            return weights
        pairs = zip(weights, self._first_weights, strict=True)
        encoded = [self._encoded(weight, first) for weight, first in pairs]
        self._note_error(weights, self.decode(encoded))
        return encoded

    def decode(self, stored):
        """Returns the weights of a round from what was stored: arrays, or tensors."""
        if self.name == "exact":
            return list(stored)
        wide = [
            tf.cast(a, first.dtype) if tf.is_tensor(a) else a.astype(first.dtype)
            for first, a in zip(self._first_weights, stored, strict=True)
        ]
        if self.name == "float32":
            return wide
        return [first + a for first, a in zip(self._first_weights, wide, strict=True)]

    def _encoded(self, weight, first):
        if self.name == "float32":
            return np.asarray(weight, "float32")
        return (weight - first).astype(tf.bfloat16.as_numpy_dtype)

    def _note_error(self, weights, decoded):
        def norm(pairs):
            return np.sqrt(sum(np.sum((np.asarray(a, float) - b) ** 2) for a, b in pairs))

        distance = norm(zip(weights, self._first_weights, strict=True))
        if distance:
            error = float(norm(zip(decoded, weights, strict=True)) / distance)
            self.error = max(self.error, error)
