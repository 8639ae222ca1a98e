"""Tests of what binds the package to TensorFlow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_taylor import backend


def test_sparse_gradient_becomes_dense():
    slices = tf.IndexedSlices(tf.ones((2, 3)), tf.constant([1, 1]), tf.constant([4, 3]))
    np.testing.assert_array_equal(backend.densify(slices)[:, 0], [0, 2, 0, 0])


def test_snapshot_stays_what_it_was():
    variable = keras.Variable(np.ones(2))
    (kept,) = backend.snapshot([variable])
    variable.assign(np.zeros(2))
    np.testing.assert_array_equal(kept, np.ones(2))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("large", [1, 10**9])
def test_column_sums(large, dtype, jit_compile, monkeypatch):
    monkeypatch.setattr(backend, "LARGE_MATRIX", large)
    matrix = np.random.default_rng(0).normal(size=(301, 7)).astype(dtype)
    matrix[5, 2], matrix[6, 3] = np.inf, np.nan
    found = tf.function(backend.column_sums, jit_compile=jit_compile)(matrix)
    assert found.dtype == dtype
    rtol = 1e-4 if dtype == "float32" else 1e-12
    expected = matrix.sum(axis=0, keepdims=True, dtype="float64")
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)


def test_one_replica_has_the_sum():
    tensor = tf.ones(3)
    assert backend.sum_over_replicas([tensor])[0] is tensor


def test_tensors_of_another_graph_are_out_of_reach():
    kept = []

    @tf.function
    def first(x):
        kept.append(x + 1)
        return tf.cond(tf.reduce_all(x > 0), lambda: _reached(kept[0]), lambda: False)

    @tf.function
    def second(x):
        return _reached(kept[0])

    def _reached(tensor):
        return tf.constant(backend.is_reachable(tensor))

    assert first(tf.ones(()))
    assert not second(tf.ones(()))
    assert backend.is_reachable(tf.ones(()))


@pytest.mark.optimized_graphs
def test_products_that_nobody_reads_are_made_again():
    @tf.function
    def twice(a, b, c):
        product = tf.add_n([a * b * c, a, b]) + c
        seen = backend.observable(product)
        assert seen is not product
        assert not product.consumers()
        return product, seen

    values = [tf.constant(value) for value in ([0.1, 0.2], [3.0, 7.0], 1.3)]
    product, seen = twice(*values)
    np.testing.assert_allclose(product, seen, rtol=1e-6)
    assert product.dtype == seen.dtype


@pytest.mark.optimized_graphs
def test_other_tensors_are_observed_as_they_are():
    eager = tf.ones(2) * 2.0
    assert backend.observable(eager) is eager

    @tf.function
    def traced(a):
        root, product = tf.sqrt(a), a * 2.0
        assert backend.observable(root) is root
        read = product + 1.0
        assert backend.observable(product) is product
        return read

    traced(tf.ones(2))


@pytest.mark.optimized_graphs
@pytest.mark.parametrize("jit_compile", [False, True])
def test_sealed_tensors_are_copies_in_a_graph(jit_compile):
    @tf.function(jit_compile=jit_compile)
    def traced(a, b):
        sealed = backend.sealed([a, b], jit_compile)
        assert all(one is not other for one, other in zip(sealed, (a, b), strict=True))
        return sealed

    values = [tf.constant([0.1, 0.2]), tf.constant([1, 2])]
    for found, expected in zip(traced(*values), values, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert backend.sealed(values)[0] is values[0]


def test_text_is_not_sealed_and_parts_of_sparse_tensors_are():
    @tf.function
    def traced(text, sparse, ragged):
        found = backend.sealed([text, None, sparse, ragged])
        assert found[0] is text
        assert found[1] is None
        return found[2:]

    dense = np.eye(3, dtype="float32")
    sparse, ragged = traced(
        tf.constant(["a"]), tf.sparse.from_dense(dense), tf.ragged.constant([[1.0], []])
    )
    np.testing.assert_array_equal(tf.sparse.to_dense(sparse), dense)
    assert ragged.to_list() == [[1.0], []]
