"""Tests of batches as rounds keep them."""

import numpy as np
import pytest
import tensorflow as tf

from keras_taylor.trajectory import batches


def test_a_batch_without_examples_is_no_round():
    data = [(np.ones((n, 2)), np.ones(n)) for n in (2, 0, 1)]
    assert [len(x) for x, _ in batches.rounds(data)] == [2, 1]
    dataset = tf.data.Dataset.from_tensor_slices(tf.ones((3, 2))).batch(2)
    empty = dataset.map(lambda x: x[:0])
    assert [len(x) for x in batches.rounds(empty.concatenate(dataset))] == [2, 1]
    assert batches.size({"a": tf.zeros((4, 1)), "b": [np.zeros(4)]}) == 4


def test_sparse_tensors_become_dense():
    sparse = tf.sparse.from_dense([[0.0, 2.0], [1.0, 0.0]])
    found = batches.arrays({"a": sparse, "b": [1, 2]})
    np.testing.assert_array_equal(found["a"], [[0, 2], [1, 0]])
    assert batches.size(sparse) == 2
    assert batches.arrays(None) is None


def test_strings_pass_and_lengths_that_differ_are_told():
    assert batches.arrays(tf.constant(["a", "bc"])).tolist() == [b"a", b"bc"]
    with pytest.raises(ValueError, match="RaggedTensor, which is no array.*padding"):
        batches.arrays(tf.ragged.constant([[1], [1, 2]]))
