"""Tests of the learning rate that a diagnosis is about."""

import keras
import pytest

import keras_taylor as kt
from keras_taylor.diagnosis.learning_rate import peak_rate


def _built(optimizer, iterations=0):
    optimizer.build([keras.Variable([1.0], name="w")])
    optimizer.iterations.assign(iterations)
    return optimizer


def test_a_constant_rate_is_the_present_one_through_wrappers():
    optimizer = _built(kt.optimizers.RegretTracker(keras.optimizers.SGD(0.25)))
    assert peak_rate(optimizer, 10) == (0.25, False)
    optimizer.learning_rate = 0.5
    assert peak_rate(optimizer, 10) == (0.5, False)


@pytest.mark.parametrize("rounds", [0, 5, 6, 11])
def test_only_the_last_rounds_count(rounds):
    steps = keras.optimizers.schedules.PiecewiseConstantDecay([5], [0.1, 0.2])
    falling = keras.optimizers.schedules.PiecewiseConstantDecay([5], [0.2, 0.1])
    # Boundaries are inclusive: rounds 0 to 5 have the first rate, and 11 rounds were trained.
    optimizer = _built(kt.optimizers.RegretTracker(keras.optimizers.SGD(steps)), 11)
    assert peak_rate(optimizer, rounds)[0] == pytest.approx(0.2)
    optimizer = _built(kt.optimizers.RegretTracker(keras.optimizers.SGD(falling)), 11)
    expected = 0.2 if rounds > 5 else 0.1
    assert peak_rate(optimizer, rounds) == (pytest.approx(expected), True)
