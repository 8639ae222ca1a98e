"""Tests of which rounds a recording keeps."""

import json

import keras
import numpy as np
import pytest

from keras_taylor.trajectory.selection import Selection


def test_without_a_sample_rounds_are_kept_at_a_fixed_distance():
    found = Selection.of(20, 5, 4, None, None)
    kept = [number for number in range(1, 21) if found.keeps(number)]
    assert kept == [6, 10, 14, 18] == [found.number(place) for place in range(4)]
    assert not found.is_sampled
    assert found.description == {"first": 6, "every": 4, "sample": None}


def test_a_sample_is_of_the_rounds_after_the_burn_in():
    found = Selection.of(500, 100, 1, 60, None)
    kept = [number for number in range(1, 501) if found.keeps(number)]
    assert len(kept) == len(set(kept)) <= 60
    assert min(kept) == 101, "the first octave is kept whole"
    assert kept == sorted(found.by_number)
    weights = [found.by_number[n].weight(n - 100) for n in kept]
    assert all(weight >= 1 for weight in weights)


def test_the_manifest_says_which_sample_it_is():
    found = Selection.of(500, 0, 1, np.int64(60), np.int32(4))
    told = json.loads(json.dumps(found.description))
    assert Selection.from_manifest(told) == found
    assert list(Selection.from_manifest(told).by_number) == list(found.by_number)


def test_the_seed_of_keras_is_that_of_the_sample():
    keras.utils.set_random_seed(5)
    one = Selection.of(500, 0, 1, 60, None)
    keras.utils.set_random_seed(5)
    assert Selection.of(500, 0, 1, 60, None) == one
    keras.utils.set_random_seed(6)
    assert list(Selection.of(500, 0, 1, 60, None).by_number) != list(one.by_number)


def test_a_sample_larger_than_the_run_is_the_run():
    with pytest.warns(UserWarning, match="sample=60: the run has 40 rounds, all are kept"):
        found = Selection.of(40, 0, 1, 60, None)
    assert not found.is_sampled
    assert all(found.keeps(number) for number in range(1, 41))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 10, 1, None, None), "keep no round"),
        ((10, 0, 0, None, None), "keep no round"),
        ((10.5, 0, 1, None, None), "keep no round"),
        ((10, 0, 1, 0, None), "sample must be a positive integer or None, received 0"),
        ((10, 0, 1, None, -1), "examples must be a positive integer or None, received -1"),
        ((10, 0, 1, True, None), "sample must be a positive integer or None, received True"),
        ((10, 0, 2, 5, None), "every=2 keeps rounds at a fixed distance, and sample=5"),
    ],
)
def test_arguments_that_keep_nothing_or_contradict_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Selection.of(*arguments)
