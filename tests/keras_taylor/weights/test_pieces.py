"""Tests of weights as matrices and of sums over units, with and without weights of their own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_taylor import backend
from keras_taylor.weights import pieces
from keras_taylor.weights.pieces import Pieces
from keras_taylor.weights.scopes import Scopes


def _mixed():
    """Layers with one to three weights a unit, with two numbers of units, and without a bias."""
    inputs = keras.Input((6, 6, 2))
    x = layers.SeparableConv2D(4, 3, depth_multiplier=2)(inputs)
    x = layers.Reshape((16, 4))(layers.Dense(4, use_bias=False)(x))
    x = layers.BatchNormalization()(layers.LSTM(5)(x))
    return keras.Model(inputs, layers.Dense(3)(x)).trainable_variables


@pytest.fixture(params=[0, 40, 16384], ids="row of {}".format)
def cut(request, monkeypatch):
    """A cut, the first unit and the number of units of each weight, and weights and gradients."""
    monkeypatch.setattr(pieces, "ROW", request.param)
    variables, generator = _mixed(), np.random.default_rng(0)
    scopes = Scopes(variables)
    arrays = [[generator.normal(size=v.shape) for v in variables] for _ in range(2)]
    cut = Pieces(scopes.shapes, scopes.unit_counts, scopes.first_units)
    return cut, scopes.first_units, scopes.unit_counts, *arrays


def _unit_sums(arrays, firsts, counts):
    sums = np.zeros(max(map(sum, zip(firsts, counts, strict=True))))
    for array, first, count in zip(arrays, firsts, counts, strict=True):
        sums[first : first + count] += array.reshape(-1, count).sum(0)
    return sums


def test_tensors_undo_matrices(cut):
    cut, _, _, weights, _ = cut
    for before, after in zip(weights, cut.tensors(cut.matrices(weights)), strict=True):
        np.testing.assert_array_equal(before, after)


def test_matrices_have_the_shapes_of_the_pieces(cut):
    cut, _, counts, weights, _ = cut
    matrices = cut.matrices(weights)
    for piece, matrix in zip(cut.pieces, matrices, strict=True):
        assert matrix.shape == (piece.rows, sum(piece.columns))
    assert sorted(i for piece in cut.pieces for i in piece.weights) == list(range(len(counts)))


def test_unit_sums(cut):
    cut, firsts, counts, weights, _ = cut
    expected = _unit_sums(weights, firsts, counts)
    np.testing.assert_allclose(cut.unit_sums(cut.matrices(weights)), expected, rtol=1e-12)


@pytest.mark.parametrize("large", [1, 10**9])
@pytest.mark.parametrize("compiled", [{}, {"jit_compile": True}], ids=str)
def test_inner_products(cut, compiled, large, monkeypatch):
    monkeypatch.setattr(backend, "LARGE_MATRIX", large)
    cut, firsts, counts, weights, gradients = cut

    @tf.function(**compiled)
    def products():
        one, other = cut.matrices(weights), cut.matrices(gradients)
        return cut.inner_products([(one, other), (one, one)])

    found = products()
    for row, others in zip(found, (gradients, weights), strict=True):
        products = [a * b for a, b in zip(weights, others, strict=True)]
        np.testing.assert_allclose(row, _unit_sums(products, firsts, counts), rtol=1e-12)


@pytest.mark.parametrize(
    ("row", "expected"),
    [(0, [(0,), (2,), (1, 3)]), (8, [(0,), (2, 1, 3)]), (20, [(0, 2, 1, 3)])],
)
def test_the_row_has_vectors_and_the_smallest_of_the_others(monkeypatch, row, expected):
    monkeypatch.setattr(pieces, "ROW", row)
    found = Pieces([(3, 4), (4,), (4, 2), (2,)], [4, 4, 2, 2], [0, 0, 4, 4]).pieces
    assert [piece.weights for piece in found] == expected


def test_a_single_large_weight(monkeypatch):
    monkeypatch.setattr(pieces, "ROW", 0)
    cut = Pieces([(3, 2)], [2], [0])
    matrices = cut.matrices([np.ones((3, 2))])
    assert [matrix.shape for matrix in matrices] == [(3, 2)]
    np.testing.assert_allclose(cut.unit_sums(matrices), [3.0, 3.0])
    np.testing.assert_allclose(cut.inner_products([(matrices, matrices)]), [[3.0, 3.0]])
