"""Tests of the checks that several functions share."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_taylor.weights import arguments

NOT_POSITIVE = (0, -1.0, float("nan"), float("inf"), True, np.True_, "1", None)


@pytest.mark.parametrize("value", NOT_POSITIVE)
def test_what_is_no_positive_number(value):
    with pytest.raises(ValueError, match="tolerance must be a positive number, received"):
        arguments.check_positive("tolerance", value)
    if value is not None:
        with pytest.raises(ValueError, match="radius must be a positive number, received"):
            arguments.check_radii([1.0, value])


def test_radii_in_arrays_and_tensors():
    for one in (2.0, np.float32(2), np.array(2.0), keras.ops.convert_to_tensor(2.0)):
        assert arguments.listed_radii(one) == ([2.0], False)
    for several in ([1.0, 2.0], (1.0, 2.0), np.array([1.0, 2.0]), keras.ops.arange(1.0, 3.0)):
        assert arguments.listed_radii(several) == ([1.0, 2.0], True)
    assert arguments.listed_radii([None, "last"], names=("last",)) == ([None, "last"], True)
    assert arguments.listed_radii(None) == ([None], False)
    for wrong, message in (
        (np.ones((1, 2)), r"a vector, received shape \(1, 2\)"),
        (np.array([]), "empty list"),
        (range(1, 3), "positive number"),
    ):
        with pytest.raises(ValueError, match=message):
            arguments.listed_radii(wrong)


def test_radii():
    arguments.check_radii([1, 0.5, np.float32(2), None, "last"], names=("last",))
    with pytest.raises(ValueError, match="empty list"):
        arguments.check_radii([])
    with pytest.raises(ValueError, match="received 'last'"):
        arguments.check_radius("last")


@pytest.mark.parametrize("passes", [0, -1, 1.5, True, "3"])
def test_what_is_no_number_of_passes(passes):
    with pytest.raises(ValueError, match="max_passes must be a positive integer or None"):
        arguments.check_passes(passes)


def test_numbers_of_passes():
    for passes in (None, 1, np.int64(3)):
        arguments.check_passes(passes)


def test_arrays_become_tensors_like_the_weights():
    weights = [tf.zeros((2, 3)), tf.zeros(3, "float64")]
    found = arguments.checked_arrays("comparator", [np.ones((2, 3)), np.ones(3, "f4")], weights)
    assert [(tuple(a.shape), a.dtype.name) for a in found] == [
        ((2, 3), "float32"),
        ((3,), "float64"),
    ]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([np.ones((2, 3))], r"expected shapes \[\(2, 3\), \(3,\)\], received \[\(2, 3\)\]"),
        ([np.ones((3, 2)), np.ones(3)], "expected shapes"),
        ([np.ones((2, 3), "int32"), np.ones(3)], "vector has dtype int32"),
        ([np.ones((2, 3)), np.array([1.0, np.inf, 1.0])], "vector has a value that is not finite"),
    ],
)
def test_arrays_unlike_the_weights(arrays, message):
    with pytest.raises(ValueError, match=message):
        arguments.checked_arrays("vector", arrays, [tf.zeros((2, 3)), tf.zeros(3)])
