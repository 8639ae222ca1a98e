"""Tests of linear regret over recorded rounds, against a tracker that saw them."""

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.optimum.recorded_regret import RecordedLinearRegret
from keras_taylor.optimum.rounds import Rounds
from keras_taylor.weights.parts import Part

STEPS, RADIUS = 12, 1.5


def test_linear_regret_and_guarantee_are_those_of_the_tracker(tmp_path):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, "relu", name="a"), keras.layers.Dense(2, name="b")]
    model = keras.Sequential([keras.Input((3,)), *layers], name="net")
    tracker = kt.optimizers.RegretTracker(keras.optimizers.Adam(0.02), radius=RADIUS)
    model.compile(tracker, loss="mse")
    generator, seen = np.random.default_rng(0), []
    shapes = (5, 3), (5, 2)
    batches = [tuple(generator.normal(size=s) for s in shapes) for _ in range(STEPS)]
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(
            (tracker.linear_regret("units"), tracker.guarantee("units"))
        )
    )
    path = tmp_path / "run"
    trajectory = kt.record(model, batches, path, steps=STEPS, callbacks=[watch], verbose=0)
    rounds = Rounds(trajectory, model)
    found = RecordedLinearRegret(rounds, [5, STEPS])
    network = found.average(Part(rounds.scopes, "network"), RADIUS, STEPS)
    assert network == pytest.approx(float(tracker.linear_regret()) / STEPS, rel=1e-4)
    for horizon in (5, STEPS):
        place = Part(rounds.scopes, "unit:net/a/2"), RADIUS, horizon
        for one, expected in zip(
            (found.average(*place), found.average_guarantee(*place)), seen[horizon - 1], strict=True
        ):
            assert one * horizon == pytest.approx(float(expected["net/a"][2]), rel=1e-4, abs=1e-5)
