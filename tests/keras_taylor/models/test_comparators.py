"""Tests of the comparators, apart from a model."""

import keras
import numpy as np
import pytest

from keras_taylor.models import comparators


@pytest.fixture
def variables():
    return [keras.Variable(np.full(shape, 1.0), name="w") for shape in ((2, 3), (3,))]


def _arrays(variables, value):
    return [np.full(tuple(variable.shape), value, "float32") for variable in variables]


def _assert_all(tensors, value):
    for tensor in tensors:
        np.testing.assert_allclose(tensor, np.full(tensor.shape, value), rtol=1e-6)


def test_initial_are_the_weights_where_it_began(variables):
    (initial,) = comparators.made("initial", variables).values()
    initial.begin(variables)
    for variable in variables:
        variable.assign(variable + 5.0)
    _assert_all(initial.at(variables, 3), 1.0)
    assert initial.config() == "initial"


def test_average_is_the_mean_so_far(variables):
    (average,) = comparators.made("average", variables).values()
    average.begin(variables)
    for rounds, value, mean in ((0, 4.0, 4.0), (1, 6.0, 5.0), (2, 2.0, 4.0)):
        found = average.at(
            [keras.ops.convert_to_tensor(a) for a in _arrays(variables, value)], rounds
        )
        _assert_all(found, mean)
        assert {tensor.dtype.name for tensor in found} == {"float32"}
    assert {variable.dtype for variable in average.variables} == {"float64"}


def test_given_arrays_stay(variables):
    (given,) = comparators.made(_arrays(variables, 7.0), variables).values()
    given.begin(variables)
    _assert_all(given.at(variables, 9), 7.0)
    assert given.config() is None


def test_arrays_that_are_loaded_later_are_waited_for(variables):
    (given,) = comparators.made(None, variables).values()
    with pytest.raises(ValueError, match="arrays are not loaded"):
        given.begin(variables)


def test_several_have_names(variables):
    found = comparators.made({"a": "initial", "b": "average"}, variables)
    assert {name: kept.config() for name, kept in found.items()} == {"a": "initial", "b": "average"}
    assert list(comparators.made("initial", variables)) == [""]


def test_mistakes_are_told(variables):
    for wrong, message in (
        ("last", "unknown comparator 'last'"),
        ({}, "empty dictionary"),
        (_arrays(variables, 1.0)[:1], "expected shapes"),
    ):
        with pytest.raises(ValueError, match=message):
            comparators.made(wrong, variables)
