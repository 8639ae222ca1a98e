"""Tests of keeping weights in fewer bytes."""

import numpy as np
import pytest
import tensorflow as tf

from keras_taylor.trajectory.weight_formats import FORMATS, WeightFormat


def _weights(seed, dtype="float32"):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=shape).astype(dtype) + 5 for shape in ((3, 4), (4,))]


@pytest.mark.parametrize("keep", FORMATS)
def test_weights_come_back_within_the_error_that_is_told(keep, tmp_path):
    first, later = _weights(0), _weights(1)
    kept = WeightFormat(keep)
    kept.begin(first)
    kept.save(tmp_path)
    encoded = kept.encode(later)
    again = WeightFormat(keep)
    again.load(tmp_path)
    decoded = again.decode(encoded)
    moved = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(later, first, strict=True)))
    error = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(decoded, later, strict=True)))
    assert error <= kept.error * moved * 1.01
    assert kept.error == (0.0 if keep != "bfloat16" else pytest.approx(1e-3, abs=2e-3))
    assert [a.dtype for a in decoded] == [a.dtype for a in later]


def test_displacements_take_two_bytes_a_weight():
    kept = WeightFormat("bfloat16")
    kept.begin(_weights(0))
    assert [a.nbytes for a in kept.encode(_weights(1))] == [24, 8]


def test_float32_of_a_float64_model():
    kept = WeightFormat("float32")
    kept.begin(_weights(0, "float64"))
    encoded = kept.encode(_weights(1, "float64"))
    assert [a.dtype.name for a in encoded] == ["float32"] * 2
    assert [a.dtype.name for a in kept.decode(encoded)] == ["float64"] * 2
    assert 0 < kept.error < 1e-6


def test_tensors_decode_to_tensors():
    kept = WeightFormat("bfloat16")
    kept.begin(_weights(0))
    encoded = kept.encode(_weights(1))
    tensors = kept.decode([tf.constant(a) for a in encoded])
    for tensor, array in zip(tensors, kept.decode(encoded), strict=True):
        np.testing.assert_array_equal(tensor, array)


def test_a_run_that_stands_still_has_no_error():
    kept = WeightFormat("bfloat16")
    kept.begin(_weights(0))
    kept.encode(_weights(0))
    assert kept.error == 0.0
