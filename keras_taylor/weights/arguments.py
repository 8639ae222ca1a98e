"""What an argument has to be: the checks that several functions share."""

import math
import numbers

import keras
import numpy as np
import tensorflow as tf
from keras import ops


def check_positive(name, value):
    """Raises a ValueError unless a value is a positive, finite number; booleans are none."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a positive number, received {value!r}")


def check_level(level):
    """Raises a ValueError unless a probability is a number between 0 and 1."""
    if not isinstance(level, numbers.Real) or isinstance(level, bool) or not 0 < level < 1:
        raise ValueError(f"level must be a number between 0 and 1, received {level!r}")


def check_radius(radius, names=()):
    """Raises a ValueError unless a radius is a positive number, `None` or one of some names."""
    is_name = isinstance(radius, str) and radius in names
    if radius is not None and not is_name:
        check_positive("radius", radius)


def check_momentum(momentum):
    """Raises a ValueError unless a momentum is `None` or a number from 0 up to but not 1."""
    is_number = isinstance(momentum, numbers.Real) and not isinstance(momentum, bool)
    if momentum is not None and not (is_number and 0 <= momentum < 1):
        raise ValueError(f"momentum must be from 0 up to but not 1, or None, received {momentum!r}")


def check_radii(radii, names=()):
    """Raises a ValueError unless there is at least one radius, each as of `check_radius`."""
    if not radii:
        raise ValueError("radius is an empty list: expected at least one radius")
    for radius in radii:
        check_radius(radius, names)


def listed_radii(radius, names=()):
    """Returns radii as a list, and whether there are several: a list, a tuple or a vector.

    Args:
        radius: A radius as of `check_radius`, a scalar array or tensor, or several of these.
        names: Names that a radius may be.

    Raises:
        ValueError: as of `check_radii`, or if an array is neither a scalar nor a vector.
    """
    if hasattr(radius, "shape") and not isinstance(radius, numbers.Real):
        array = np.asarray(radius)
        if array.ndim > 1:
            raise ValueError(f"radius must be a number or a vector, received shape {array.shape}")
        radius = array.tolist()
    several = isinstance(radius, (list, tuple))
    radii = list(radius) if several else [radius]
    check_radii(radii, names)
    return radii, several


def is_whole(value):
    """Tells whether a value is an integer and no boolean."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_passes(passes):
    """Raises a ValueError unless a number of passes is `None` or a positive integer."""
    if passes is not None and not (is_whole(passes) and passes > 0):
        raise ValueError(f"max_passes must be a positive integer or None, received {passes!r}")


def checked_arrays(name, arrays, weights):
    """Returns arrays like the weights as tensors of the weights' dtypes.

    Args:
        name: What the arrays are, for the message.
        arrays: Arrays or tensors, one for each weight.
        weights: Tensors or variables.

    Raises:
        ValueError: if there is not one array of the same shape for each weight, or an array is not
            of floating-point numbers, or has a value that is not finite.
    """
    arrays = list(arrays)
    expected = [tuple(weight.shape) for weight in weights]
    found = [tuple(ops.shape(array)) for array in arrays]
    if found != expected:
        raise ValueError(
            f"{name} must be a list of arrays shaped like the model's trainable variables: "
            f"expected shapes {expected}, received {found}"
        )
    for array in arrays:
        dtype = keras.backend.standardize_dtype(getattr(array, "dtype", type(array)))
        if not dtype.startswith(("float", "bfloat")):
            raise ValueError(f"{name} has dtype {dtype}: expected floating-point arrays")
        if not tf.is_symbolic_tensor(array) and not np.isfinite(np.asarray(array)).all():
            raise ValueError(f"{name} has a value that is not finite: expected finite numbers")
    return [
        ops.cast(ops.convert_to_tensor(array), weight.dtype)
        for array, weight in zip(arrays, weights, strict=True)
    ]
