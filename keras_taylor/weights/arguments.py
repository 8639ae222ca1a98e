"""What an argument has to be: the checks that several functions share."""

import math
import numbers


def check_positive(name, value):
    """Raises a ValueError unless a value is a positive, finite number; booleans are none."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a positive number, received {value!r}")


def check_radius(radius, names=()):
    """Raises a ValueError unless a radius is a positive number, `None` or one of some names."""
    is_name = isinstance(radius, str) and radius in names
    if radius is not None and not is_name:
        check_positive("radius", radius)


def check_radii(radii, names=()):
    """Raises a ValueError unless there is at least one radius, each as of `check_radius`."""
    if not radii:
        raise ValueError("radius is an empty list: expected at least one radius")
    for radius in radii:
        check_radius(radius, names)


def is_whole(value):
    """Tells whether a value is an integer and no boolean."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_passes(passes):
    """Raises a ValueError unless a number of passes is `None` or a positive integer."""
    if passes is not None and not (is_whole(passes) and passes > 0):
        raise ValueError(f"max_passes must be a positive integer or None, received {passes!r}")
