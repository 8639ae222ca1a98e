"""Tests of parts of the weights as vectors."""

import keras
import numpy as np
import pytest

from keras_taylor.weights.parts import Part, by_scope, part_names
from keras_taylor.weights.scopes import Scopes


@pytest.fixture(scope="module")
def scopes():
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(2, name="a")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(4, name="b", use_bias=False)(hidden))
    return Scopes(model.trainable_variables)


def _arrays(scopes, start=0):
    return [start + np.arange(np.prod(s), dtype="float64").reshape(s) for s in scopes.shapes]


@pytest.mark.parametrize(
    ("name", "size", "layer", "unit", "units"),
    [
        ("network", 16, None, None, range(6)),
        ("layer:a", 8, "a", None, range(2)),
        ("layer:b", 8, "b", None, range(2, 6)),
        ("unit:a/1", 4, "a", 1, [1]),
        ("unit:b/3", 2, "b", 3, [5]),
    ],
)
def test_vector_and_back(scopes, name, size, layer, unit, units):
    part = Part(scopes, name)
    arrays, rest = _arrays(scopes, 100), _arrays(scopes)
    vector = part.vector(arrays)
    assert vector.shape == (size,)
    assert (part.layer, part.unit, list(part.units)) == (layer, unit, list(units))
    together = part.arrays(vector, rest)
    changed = sum((one != other).sum() for one, other in zip(together, rest, strict=True))
    assert changed == size
    np.testing.assert_array_equal(part.vector(together), vector)


def test_cut_leaves_the_part(scopes):
    a, bias, b = Part(scopes, "unit:a/1").cut(_arrays(scopes, 1.0))
    assert b is None
    np.testing.assert_array_equal(a, [[0, 2], [0, 4], [0, 6]])
    np.testing.assert_array_equal(bias, [0, 2])
    assert Part(scopes, "network").cut([1, 2, 3]) == [1, 2, 3]


@pytest.mark.parametrize("name", ["a", "unit:a", "unit:a/x", "layer:"])
def test_unknown_parts_list_the_known(scopes, name):
    with pytest.raises(ValueError, match="unknown.*a, b"):
        Part(scopes, name)


@pytest.mark.parametrize("scope", ["layers", "units"])
def test_several_parts_are_no_part(scopes, scope):
    with pytest.raises(ValueError, match=f"'{scope}' has several parts: expected 'network'"):
        Part(scopes, scope)


def test_names_and_values_of_a_scope(scopes):
    names = part_names(scopes, "units")
    assert names[:3] == ["unit:a/0", "unit:a/1", "unit:b/0"]
    assert by_scope(scopes, "units", range(6)) == {"a": [0, 1], "b": [2, 3, 4, 5]}
    assert by_scope(scopes, "units", range(3)) == {"a": [0, 1], "b": [2]}, "an interrupted call"
    assert part_names(scopes, "layers") == ["layer:a", "layer:b"]
    assert by_scope(scopes, "layers", [5, 6]) == {"a": 5, "b": 6}
    assert part_names(scopes, "layer:b") == ["layer:b"]
    assert by_scope(scopes, "layer:b", [7]) == 7
    with pytest.raises(ValueError, match="unknown scope 'nope'"):
        part_names(scopes, "nope")
