"""Sums over rounds of gradients: tensors as large as the weights, which a step has to be fast with.

A float64 sum of float32 terms needs a float64 copy of each term and moves three times the bytes. So
the terms of a few rounds are summed in float32, and then added to a float32 total in such a way
that what rounding takes from the total stays behind:

    after = total + recent        in float32
    left  = total + recent - after        exactly, which starts the next sum of recent terms

Total and recent terms together are so what a float64 sum would be but for the rounding of a few
float32 additions, however many rounds there are: about 1e-7 of the terms. Of small tensors, whose
operations cost more than their arithmetic, plain float64 sums are faster.

Source: Knuth, The Art of Computer Programming, volume 2, section 4.2.2, for the exact error of a
sum; Kahan, Further remarks on reducing truncation errors, 1965, for keeping it.
"""

import math

from keras import ops

from keras_taylor import backend
from keras_taylor.tracking.linear_regret import SUM_DTYPE

# Rounds that are summed before they are added to the total.
RECENT_ROUNDS = 16
# The entries from which a tensor is large: 4 MB in float32.
LARGE = 2**20


def sum_and_error(one, other):
    """Returns a sum as rounded, and what it lacks of the exact one.

    Args:
        one: A tensor of a floating dtype.
        other: Another one.

    Example:

    >>> total, error = sum_and_error(np.float32(1.0), np.float32(1e-9))
    >>> float(total), round(float(error), 12)
    (1.0, 1e-09)
    """
    total = one + other
    of_other = total - one
    of_one = total - of_other
    return total, (one - of_one) + (other - of_other)


class GradientSums:
    """`sum_n g^n` of each weight, as variables.

    Args:
        add_variable: Function of a shape, a name and a dtype that returns a variable of zeros.
        shapes: The shapes of the gradients.
        dtype: `"float32"` for sums of large tensors as described above, `"float64"` for plain ones
            of all.
    """

    def __init__(self, add_variable, shapes, dtype):
        dtypes = [dtype if math.prod(shape) >= LARGE else SUM_DTYPE for shape in shapes]
        pairs = list(zip(shapes, dtypes, strict=True))
        self._totals = [add_variable(shape, "gradient", dtype) for shape, dtype in pairs]
        # By the number of the tensor.
        self._recent = {
            number: add_variable(shape, "recent_gradient", dtype)
            for number, (shape, dtype) in enumerate(pairs)
            if dtype != SUM_DTYPE
        }

    def variables(self):
        """Returns all variables."""
        return [*self._totals, *self._recent.values()]

    def add(self, gradients, rounds, touched=None):
        """Adds the gradients of a round.

        Args:
            gradients: Tensors like the sums.
            rounds: The number of rounds with this one, a scalar tensor.
            touched: `{number of a tensor: TouchedRows}` of sparse gradients, or `None`.
        """
        for number, (total, gradient) in enumerate(zip(self._totals, gradients, strict=True)):
            latest = self._recent.get(number, total)
            if touched and number in touched:
                touched[number].add_gradient(latest)
            else:
                backend.add_in_place(latest, ops.cast(gradient, latest.dtype))
        if self._recent:
            is_due = ops.equal(rounds % RECENT_ROUNDS, 0)
            ops.cond(is_due, self._add_recent, lambda: None)

    def _add_recent(self):
        for number, recent in self._recent.items():
            total = self._totals[number]
            after, left = sum_and_error(total, recent)
            total.assign(after)
            recent.assign(left)

    def values(self):
        """Returns the sums, float64 tensors."""
        sums = [
            total + self._recent[number] if number in self._recent else total
            for number, total in enumerate(self._totals)
        ]
        return [ops.cast(one, SUM_DTYPE) for one in sums]
