"""Tests of files that know whether they are as they were written."""

import json

import numpy as np
import pytest

from keras_taylor.trajectory import sealed

VALUE = {"run": "a", "items": [1, None, 2.5], "text": 'π", "sha256": "'}
ARRAYS = [np.arange(3), np.ones((2, 1), "float32")]


def test_json_comes_back_and_others_read_it(tmp_path):
    sealed.write_json(tmp_path / "x.json", VALUE)
    assert sealed.read_json(tmp_path / "x.json", "a") == VALUE
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert VALUE.items() <= json.loads(text).items()


def test_arrays_come_back_and_others_read_them(tmp_path):
    sealed.write_arrays(tmp_path / "x.npz", "a", ARRAYS, head="h")
    arrays, named = sealed.read_arrays(tmp_path / "x.npz", "a")
    for one, other in zip(arrays, ARRAYS, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert {name: str(array) for name, array in named.items()} == {"head": "h"}
    with np.load(tmp_path / "x.npz") as saved:
        np.testing.assert_array_equal(saved["arr_0"], ARRAYS[0])


def _files(path):
    sealed.write_json(path / "x.json", VALUE)
    sealed.write_arrays(path / "x.npz", "a", ARRAYS, head="h")
    return {
        path / "x.json": lambda run: sealed.read_json(path / "x.json", run),
        path / "x.npz": lambda run: sealed.read_arrays(path / "x.npz", run),
    }


def test_every_bit_counts(tmp_path):
    for file, read in _files(tmp_path).items():
        content = file.read_bytes()
        for place in range(len(content)):
            spoiled = bytearray(content)
            spoiled[place] ^= 1 << place % 8
            file.write_bytes(spoiled)
            with pytest.raises(ValueError, match=f"{file.name} is damaged"):
                read("a")


def test_every_cut_is_told(tmp_path):
    for file, read in _files(tmp_path).items():
        content = file.read_bytes()
        for length in (0, 1, 63, 64, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:length])
            with pytest.raises(ValueError, match=f"{file.name} is damaged"):
                read("a")
        file.write_bytes(content + b"\n")
        with pytest.raises(ValueError, match=f"{file.name} is damaged"):
            read("a")


def test_another_run_and_no_file(tmp_path):
    for file, read in _files(tmp_path).items():
        with pytest.raises(ValueError, match=f"{file.name} is of another run.*id a, .* b"):
            read("b")
        file.unlink()
        with pytest.raises(FileNotFoundError, match=file.name):
            read("a")


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "x.npz"
    sealed.write_arrays(path, "a", ARRAYS)
    before = path.read_bytes()

    def broken(file, *arrays, **named):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(OSError, match="No space left"):
        sealed.write_arrays(path, "a", ARRAYS)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
