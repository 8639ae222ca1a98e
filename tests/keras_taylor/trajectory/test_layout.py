"""Tests of layouts of nested arrays; files are tested with trajectories."""

import numpy as np
import pytest

from keras_taylor.trajectory.storage import Layout

STRUCTURE = {
    "x": {"a": np.ones((3, 2)), "b": (np.zeros(3, "int64"), None)},
    "weights": [np.ones((2, 2), "float32"), np.ones(2, "float32")],
    "loss": np.float64(2.0),
}


def test_flattening_and_back():
    layout = Layout.of(STRUCTURE)
    back = layout.unflatten(layout.flatten(STRUCTURE))
    assert back["x"]["b"][1] is None
    assert isinstance(back["x"]["b"], tuple)
    np.testing.assert_array_equal(back["weights"][1], np.ones(2))
    assert len(layout.leaves) == 5


def test_the_first_axis_of_batches_is_open_and_of_nothing_else():
    layout = Layout.of(STRUCTURE)
    smaller = STRUCTURE | {"x": {"a": np.ones((1, 2)), "b": (np.zeros(1, "int64"), None)}}
    assert layout.flatten(smaller)[0].shape == (1, 2)
    for wrong in (
        {"weights": [np.ones((3, 2), "float32"), np.ones(2, "float32")]},
        {"weights": [np.ones((2, 2), "float64"), np.ones(2, "float32")]},
    ):
        with pytest.raises(ValueError, match="as in the first round"):
            layout.flatten(STRUCTURE | wrong)
