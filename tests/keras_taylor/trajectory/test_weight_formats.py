"""Tests of keeping weights in fewer bytes."""

import numpy as np
import pytest
import tensorflow as tf

from keras_taylor.trajectory.weight_formats import FORMATS, WeightFormat


def _weights(seed, dtype="float32"):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=shape).astype(dtype) + 5 for shape in ((3, 4), (4,))]


@pytest.mark.parametrize("name", FORMATS)
def test_error_is_that_of_the_weights_that_come_back(name, tmp_path):
    first, later = _weights(0), _weights(1)
    written = WeightFormat(name)
    written.begin(first)
    written.save(tmp_path, "a")
    encoded = written.encode(later)
    again = WeightFormat(name)
    again.load(tmp_path, "a")
    decoded = again.decode(encoded)
    distance, error = (
        np.sqrt(sum(np.sum((a.astype(float) - b) ** 2) for a, b in zip(*pair, strict=True)))
        for pair in ((later, first), (decoded, later))
    )
    assert written.error == pytest.approx(error / distance, rel=1e-5, abs=0.0)
    if name == "bfloat16":
        assert 1e-4 < written.error <= 1 / 256
    else:
        assert written.error == 0.0
    assert [a.dtype for a in decoded] == [a.dtype for a in later]


def test_displacements_take_two_bytes_a_weight():
    written = WeightFormat("bfloat16")
    written.begin(_weights(0))
    assert [a.nbytes for a in written.encode(_weights(1))] == [24, 8]


def test_float32_of_a_float64_model():
    written = WeightFormat("float32")
    written.begin(_weights(0, "float64"))
    encoded = written.encode(_weights(1, "float64"))
    assert [a.dtype.name for a in encoded] == ["float32"] * 2
    assert [a.dtype.name for a in written.decode(encoded)] == ["float64"] * 2
    assert 0 < written.error < 1e-6


def test_tensors_decode_to_tensors():
    written = WeightFormat("bfloat16")
    written.begin(_weights(0))
    encoded = written.encode(_weights(1))
    tensors = written.decode([tf.constant(a) for a in encoded])
    for tensor, array in zip(tensors, written.decode(encoded), strict=True):
        np.testing.assert_array_equal(tensor, array)


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_first_weights_are_replaced_as_a_whole(name, tmp_path, monkeypatch):
    written = WeightFormat(name)
    written.begin(_weights(0))
    written.save(tmp_path, "a")
    before = (tmp_path / "first.npz").read_bytes()

    def broken(file, *arrays, **named):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(OSError, match="No space left"):
        written.save(tmp_path, "a")
    assert (tmp_path / "first.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["first.npz"]


def test_a_run_that_stands_still_has_no_error():
    written = WeightFormat("bfloat16")
    written.begin(_weights(0))
    written.encode(_weights(0))
    assert written.error == 0.0
