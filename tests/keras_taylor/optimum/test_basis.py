"""Tests of the growing orthonormal basis."""

import numpy as np
import pytest

from keras_taylor.optimum.basis import Rows, apart


def test_rows_grow_without_loss():
    vectors, rows = np.random.default_rng(0).normal(size=(20, 3)), Rows(3)
    for vector in vectors:
        rows.append(vector)
    np.testing.assert_array_equal(rows.rows, vectors)


def test_a_vector_is_split_into_what_the_rows_have_and_a_direction_apart():
    generator = np.random.default_rng(0)
    rows = np.linalg.qr(generator.normal(size=(6, 2)))[0].T
    vector = generator.normal(size=6)
    inside, direction, left = apart(vector, rows)
    np.testing.assert_allclose(rows.T @ inside + left * direction, vector, atol=1e-14)
    np.testing.assert_allclose(rows @ direction, 0.0, atol=1e-15)
    assert np.linalg.norm(direction) == pytest.approx(1.0)


@pytest.mark.parametrize("vector", [np.array([1e8, 3e7, 1e-7]), np.zeros(3)])
def test_what_is_left_of_rounding_is_no_direction(vector):
    _, direction, left = apart(vector, np.eye(3)[:2])
    assert left == 0.0
    np.testing.assert_array_equal(direction, 0.0)
