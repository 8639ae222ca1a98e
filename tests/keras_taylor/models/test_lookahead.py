"""Tests of a training function that looks at its first batch."""

import numpy as np
import pytest
import tensorflow as tf

from keras_taylor.models.lookahead import looking_ahead


def _counting(steps, seen):
    def function(iterator):
        for _, batch in zip(range(steps), iterator, strict=False):
            seen.append(int(np.ravel(batch)[0]))

    return function


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("kind", ["generator", "dataset", "scalars"])
def test_no_batch_is_lost_and_none_comes_twice(steps, kind):
    looks, seen = [], []
    function = looking_ahead(_counting(steps, seen), looks.append, steps)
    batches = {
        "generator": lambda: (np.array([n]) for n in range(9)),
        "dataset": lambda: iter(tf.data.Dataset.range(9).batch(1)),
        "scalars": lambda: iter(tf.data.Dataset.range(9)),
    }[kind]()
    for _ in range(9 // steps):
        function(batches)
    assert seen == list(range(9))
    assert [int(np.ravel(look)[0]) for look in looks] == [0]


def test_a_look_that_raises_is_not_the_last():
    looks = []

    def look(batch):
        looks.append(batch)
        if len(looks) == 1:
            raise ValueError("not this one")

    function = looking_ahead(_counting(1, []), look, 1)
    with pytest.raises(ValueError, match="not this one"):
        function(iter([1, 2]))
    function(iter([1, 2]))
    assert looks == [1, 1]


def test_without_a_batch_nothing_is_looked_at():
    looking_ahead(_counting(1, []), pytest.fail, 1)(iter([]))
