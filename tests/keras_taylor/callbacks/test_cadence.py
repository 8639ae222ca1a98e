"""Tests of when callbacks look at a run."""

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.callbacks.cadence import Cadence


class _Looks(Cadence):
    def __init__(self, every):
        super().__init__(every)
        self.at, self.logs = [], []

    def take(self, logs=None):
        self.at.append(self.round)
        self.logs.append(logs)


def _looks(every, executions=1, **options):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse", steps_per_execution=executions)
    looks = _Looks(every)
    options = {"epochs": 2, "batch_size": 2, "verbose": 0, "callbacks": [looks]} | options
    model.fit(np.ones((20, 2)), np.ones((20, 1)), **options)
    return looks


@pytest.mark.parametrize(
    ("every", "executions", "rounds"),
    [
        ("epoch", 1, [10, 20]),
        ("epoch", 4, [10, 20]),
        (7, 1, [7, 14]),
        (1, 5, [5, 10, 15, 20]),
        (7, 5, [10, 15]),
        (100, 1, []),
    ],
)
def test_rounds_are_counted(every, executions, rounds):
    assert _looks(every, executions).at == rounds


def test_numbers_of_numpy_are_numbers():
    assert _looks(np.int64(7)).at == [7, 14]


def test_logs_are_passed_on():
    assert all("loss" in logs for every in ("epoch", 3) for logs in _looks(every).logs)


def test_rounds_of_a_recording_are_counted(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    looks, batches = _Looks(2), [(np.ones((4, 2)), np.zeros((4, 1)))] * 6
    kt.record(model, batches, tmp_path / "run", steps=6, verbose=0, callbacks=[looks])
    assert looks.at == [2, 4, 6]


@pytest.mark.parametrize("every", ["batch", 0, -1, 1.5, None, True, np.True_, np.nan])
def test_bad_every(every):
    with pytest.raises(ValueError, match="every must be 'epoch' or a positive integer, received"):
        Cadence(every)
