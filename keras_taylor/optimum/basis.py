"""An orthonormal basis that grows by a vector at a time: pure NumPy."""

import numpy as np

# The length, relative to a direction, below which what the basis lacks of it is rounding.
NEGLIGIBLE = 1e-10


def apart(vector, rows):
    """Splits a vector into its products with orthonormal rows, and a direction apart from them.

    Returns:
        The products, the direction as a unit vector, and how much of it the vector has: zero, with
        a direction of zeros, where that is rounding.
    """
    length, inside = np.linalg.norm(vector), np.zeros(len(rows))
    for _ in range(2):
        products = rows @ vector
        inside, vector = inside + products, vector - rows.T @ products
    left = np.linalg.norm(vector)
    if left <= NEGLIGIBLE * length:
        return inside, np.zeros_like(vector), 0.0
    return inside, vector / left, left


class Rows:
    """A growing list of vectors as the rows of a matrix, whose memory doubles when it is full."""

    def __init__(self, length):
        self._kept = np.empty((8, length))
        self._length = 0

    @property
    def rows(self):
        """The rows, a matrix `(rows, length)`."""
        return self._kept[: self._length]

    def append(self, row):
        """Adds a row."""
        if self._length == len(self._kept):
            kept, self._kept = self._kept, np.empty((2 * len(self._kept), len(row)))
            self._kept[: self._length] = kept
        self._kept[self._length] = row
        self._length += 1
