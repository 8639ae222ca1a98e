"""Tests of layouts of nested arrays."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_taylor.trajectory.layout import Layout, is_absent, or_ones

STRUCTURE = {
    "x": {"a": np.ones((3, 2)), "b": (np.zeros(3, "int64"), None)},
    "weights": [np.ones((2, 2), "float32"), np.ones(2, "float32")],
    "sample_weight": np.ones((3, 4), "float32"),
    "loss": np.float64(2.0),
}
SHORT = {"a": np.ones((1, 2)), "b": (np.zeros(1, "int64"), None)}


def test_flattening_and_back():
    layout = Layout.of(STRUCTURE)
    back = layout.unflatten(layout.flatten(STRUCTURE))
    assert back["x"]["b"][1] is None
    assert isinstance(back["x"]["b"], tuple)
    np.testing.assert_array_equal(back["weights"][1], np.ones(2))
    np.testing.assert_array_equal(back["sample_weight"], np.ones((3, 4)))
    assert len(layout.leaves) == layout.required == 6
    assert list(back) == ["x", "weights", "loss", "sample_weight"]


def test_the_first_axis_of_batches_is_open_and_of_nothing_else():
    layout = Layout.of(STRUCTURE)
    assert layout.flatten(STRUCTURE | {"x": SHORT})[0].shape == (1, 2)
    for wrong, message in (
        ({"weights": [np.ones((3, 2), "float32"), np.ones(2, "float32")]}, "weights: .*2, 2.*3, 2"),
        ({"weights": [np.ones((2, 2), "float64"), np.ones(2, "float32")]}, "float32, as in .*64"),
        ({"weights": [np.ones((2, 2), "float32")]}, "expected 2 arrays, .*received 1"),
        ({"x": {"a": np.ones((3, 2))}}, r"x: expected \['a', 'b'\]"),
        ({"x": STRUCTURE["x"] | {"c": np.ones(3)}}, r"received \['a', 'b', 'c'\]"),
        ({"x": {"a": np.ones((3, 2)), "b": (None, None)}}, "expected leaf.*received none"),
        ({"x": {"a": np.ones((3, 2, 1)), "b": STRUCTURE["x"]["b"]}}, "x: expected shape"),
    ):
        with pytest.raises(ValueError, match=message):
            layout.widened(STRUCTURE | wrong)


def test_other_lengths_widen_a_layout_once():
    layout = Layout.of(STRUCTURE)
    assert layout.widened(STRUCTURE) is layout
    longer = STRUCTURE | {"x": {"a": np.ones((3, 7)), "b": STRUCTURE["x"]["b"]}}
    with pytest.raises(ValueError, match="widen it first"):
        layout.flatten(longer)
    wider = layout.widened(longer)
    assert wider.leaves[0]["shape"] == [None, None]
    assert wider.widened(STRUCTURE) is wider
    assert Layout(json.loads(json.dumps(wider.description))).widened(longer).description == (
        wider.description
    )


@pytest.mark.parametrize("given_first", [True, False])
def test_sample_weights_of_some_rounds(given_first):
    without = STRUCTURE | {"sample_weight": None}
    rounds = [STRUCTURE, without] if given_first else [without, STRUCTURE]
    layout = Layout.of(rounds[0]).widened(rounds[1])
    assert layout.is_optional
    assert (layout.required, len(layout.leaves)) == (5, 6)
    assert [len(layout.flatten(each)) for each in (STRUCTURE, without)] == [6, 5]
    assert layout.widened(without) is layout
    longer = STRUCTURE | {"sample_weight": np.ones((3, 9), "float32")}
    assert layout.widened(longer).leaves[-1]["shape"] == [None, None]


@pytest.mark.parametrize("length", [4, None])
def test_absent_weights_are_ones(length):
    @tf.function(
        input_signature=[tf.TensorSpec((None, length)), tf.TensorSpec((None, 2))], autograph=False
    )
    def filled(weight, x):
        return or_ones(weight, x)

    x, absent, given = tf.zeros((3, 2)), tf.zeros((0, 4)), tf.fill((3, 4), 2.0)
    assert is_absent(absent)
    assert not is_absent(given)
    np.testing.assert_array_equal(filled(absent, x), np.ones((3, length or 1)))
    np.testing.assert_array_equal(filled(given, x), given)


def test_strings_are_strings():
    for texts in (np.array(["a", "bcd"]), np.array([b"a", b"bcd"], object)):
        assert Layout.of({"x": texts}).leaves[0] == {
            "kind": "leaf",
            "dtype": "string",
            "shape": [None],
        }
