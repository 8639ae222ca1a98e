"""Tests of putting what rounds leave of each example into chunks."""

import numpy as np
import pytest
import tensorflow as tf

from keras_taylor.optimum import chunks

ROUNDS, BATCH = 7, 3


def _rounds(width=2):
    numbers = np.arange(ROUNDS * BATCH * width, dtype="float64").reshape(ROUNDS, BATCH, width)
    return numbers, [{"x": tf.constant(one)} for one in numbers]


@pytest.mark.parametrize("rounds_a_chunk", [1, 3, 100])
def test_the_first_rounds_are_theirs_whatever_the_chunks(rounds_a_chunk, monkeypatch):
    numbers, by_round = _rounds()
    monkeypatch.setattr(chunks, "CHUNK_BYTES", rounds_a_chunk * numbers[0].nbytes)
    found = chunks.Chunks(iter(by_round))
    assert len(found.chunks) == -(-ROUNDS // rounds_a_chunk)
    for horizon in range(1, ROUNDS + 1):
        joined = np.concatenate([chunk["x"].numpy() for chunk in found.first(horizon)])
        np.testing.assert_array_equal(joined, numbers[:horizon].reshape(-1, 2))


def test_rounds_that_differ_in_number_or_size_of_examples_have_no_chunks():
    _, by_round = _rounds()
    for other in (tf.zeros((BATCH - 1, 2), "float64"), tf.zeros((BATCH, 3), "float64")):
        with pytest.raises(chunks.NoFeaturesError):
            chunks.Chunks(iter([*by_round, {"x": other}]))


def test_what_is_nothing_or_too_large_is_not_collected():
    numbers, by_round = _rounds()
    pairs = [(1.0, one) for one in by_round]

    def collected(make, most):
        return list(chunks.collected(pairs, make, ROUNDS, most))

    assert len(collected(lambda weight, one: one, numbers.nbytes)) == ROUNDS
    for make, most in ((lambda weight, one: one, numbers.nbytes - 1), (lambda *_: {}, 10**9)):
        with pytest.raises(chunks.NoFeaturesError):
            collected(make, most)


def test_a_graph_is_traced_once_for_all_lengths():
    traced = []

    def doubled(factor, chunk):
        traced.append(chunk["x"].shape)
        return factor * chunk["x"]

    run = chunks.traced(doubled)
    for length in (2, 5, 3):
        found = run(tf.constant(2.0), {"x": tf.ones((length, 4))})
        np.testing.assert_array_equal(found, 2 * np.ones((length, 4)))
    assert traced == [tf.TensorShape((None, 4))]
