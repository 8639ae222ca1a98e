"""How the weights of recorded rounds are kept: as they are, or in fewer bytes."""

import numpy as np
import tensorflow as tf

FORMATS = ("exact", "float32", "bfloat16")
FIRST = "first.npz"


class WeightFormat:
    """Turns weights into what is kept of them and back.

    `"bfloat16"` keeps `W^n - W^1` with eight bits of precision: an error of at most 1/256 of each
    displacement, whatever the weights' size.

    Args:
        keep: One of `FORMATS`.

    Attributes:
        error: The largest `||kept - W^n|| / ||W^n - W^1||` of the rounds so far; zero for weights
            that are kept exactly.
    """

    def __init__(self, keep):
        self.keep, self.error = keep, 0.0
        self._first = None

    def begin(self, weights):
        """Takes the weights of the first round, from which the others are told apart."""
        self._first = [np.array(weight) for weight in weights]

    def save(self, path):
        """Writes the first weights into a directory, where the format needs them."""
        if self.keep != "exact":
            np.savez(path / FIRST, *self._first)

    def load(self, path):
        """Reads what `save` wrote."""
        if self.keep != "exact":
            with np.load(path / FIRST) as saved:
                self._first = [saved[f"arr_{index}"] for index in range(len(saved.files))]

    def encode(self, weights):
        """Returns the arrays to keep of a round's weights."""
        if self.keep == "exact":
            return weights
        encoded = [self._encoded(*pair) for pair in zip(weights, self._first, strict=True)]
        self._note_error(weights, self.decode(encoded))
        return encoded

    def decode(self, arrays):
        """Returns weights from what was kept of them, arrays or tensors."""
        if self.keep == "exact":
            return list(arrays)
        wide = [
            tf.cast(a, first.dtype) if tf.is_tensor(a) else a.astype(first.dtype)
            for first, a in zip(self._first, arrays, strict=True)
        ]
        if self.keep == "float32":
            return wide
        return [first + a for first, a in zip(self._first, wide, strict=True)]

    def _encoded(self, weight, first):
        if self.keep == "float32":
            return np.asarray(weight, "float32")
        return (weight - first).astype(tf.bfloat16.as_numpy_dtype)

    def _note_error(self, weights, decoded):
        def norm(pairs):
            return np.sqrt(sum(np.sum((np.asarray(a, float) - b) ** 2) for a, b in pairs))

        moved = norm(zip(weights, self._first, strict=True))
        if moved:
            self.error = max(self.error, float(norm(zip(decoded, weights, strict=True)) / moved))
