"""How small a gap is small enough: relative to the value, or in units of the loss."""

import dataclasses

from keras_taylor.weights.arguments import check_positive


@dataclasses.dataclass(frozen=True)
class Absolute:
    """A gap in units of the loss. Solvers take it where they take a relative gap, a number.

    Args:
        gap: The gap.

    Example:

    >>> allowed_gap(0.01, value=-20.0), allowed_gap(0.5 * Absolute(0.01), value=-20.0)
    (0.2, 0.005)
    """

    gap: float

    def __rmul__(self, factor):
        return Absolute(factor * self.gap)


def allowed_gap(tolerance, value):
    """Returns the gap that a tolerance, a number or `Absolute`, allows at a value."""
    if isinstance(tolerance, Absolute):
        return tolerance.gap
    return tolerance * abs(value)


def checked_tolerance(relative, absolute):
    """Returns the tolerance that the arguments of a solve ask for.

    Args:
        relative: The gap relative to the value.
        absolute: The gap in units of the loss, in its place, or `None`.

    Raises:
        ValueError: if one of them is not positive.
    """
    check_positive("tolerance", relative)
    if absolute is None:
        return relative
    check_positive("absolute_tolerance", absolute)
    return Absolute(absolute)
