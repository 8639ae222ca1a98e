"""Tests of writing files as a whole."""

import json

import numpy as np
import pytest

from keras_taylor.trajectory.replacing import partial_path, replacing, write_arrays, write_json


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        assert partial_path(path).read_bytes() == b"new"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write():
        with replacing(path) as file:
            file.write(b"ne")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_and_arrays_come_back(tmp_path):
    value = {"a": [1, None, 2.5], "b": "π"}
    write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == value
    write_arrays(tmp_path / "x.npz", [np.arange(3), np.ones((2, 1))], head="h")
    with np.load(tmp_path / "x.npz") as saved:
        np.testing.assert_array_equal(saved["arr_0"], np.arange(3))
        np.testing.assert_array_equal(saved["arr_1"], np.ones((2, 1)))
        assert str(saved["head"]) == "h"
