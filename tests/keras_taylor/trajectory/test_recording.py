"""Tests of recorded training and of the trajectories it leaves."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt
from keras_taylor.trajectory import storage


@pytest.fixture(scope="module")
def plain(run):
    """The fields of each round of plain training, and the model after it."""
    model, rounds = run.model(), []
    for x, y in run.batches():
        weights = [v.numpy() for v in model.trainable_variables]
        model.reset_metrics()
        rounds.append((weights, x, y, float(model.train_on_batch(x, y))))
    return rounds, model


def test_rounds_are_those_of_training(run, recorded, plain):
    trajectory, model = recorded
    rounds = list(trajectory)
    assert len(trajectory) == len(rounds) == run.steps - run.first
    assert [round.number for round in rounds] == list(range(run.first + 1, run.steps + 1))
    for found, (weights, x, y, loss) in zip(rounds, plain[0][run.first :], strict=True):
        for one, other in zip(found.weights, weights, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(found.x, x)
        np.testing.assert_array_equal(found.y, y)
        assert found.sample_weight is None
        assert found.loss == pytest.approx(loss, rel=1e-6)
        assert len(found.non_trainable_weights) == len(model.non_trainable_variables)


def test_training_is_the_same_with_and_without_recording(recorded, plain):
    for one, other in zip(recorded[1].get_weights(), plain[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_in_fewer_bytes(run, path, recorded):
    exact, halved = recorded[0], run.record(path, keep="bfloat16")
    assert exact.weight_error == 0.0
    assert 0 < halved.weight_error < 1 / 256
    first = next(iter(exact)).weights
    for one, other in zip(halved, exact, strict=True):
        error = squared_distance = 0.0
        for a, b, c in zip(one.weights, other.weights, first, strict=True):
            assert a.dtype == b.dtype
            error += np.sum((a - b) ** 2)
            squared_distance += np.sum((b - c) ** 2)
        assert error <= (halved.weight_error * 1.001) ** 2 * squared_distance + 1e-30
    model = run.model()
    found = [kt.taylor_optimum(t, model, tolerance=1e-3, verbose=0) for t in (exact, halved)]
    assert found[1].value == pytest.approx(found[0].value, rel=0.01)


def test_thinning_and_shards(run, path, monkeypatch):
    monkeypatch.setattr(storage, "SHARD_ROUNDS", 2)
    trajectory = run.record(path, start=1, every=3)
    assert [round.number for round in trajectory] == [2, 5, 8, 11]
    assert len(list(path.glob("*.tfrecord"))) == 2


def test_datasets_of_tensorflow(run, path):
    x = tf.data.Dataset.from_tensor_slices(np.ones((16, 5), "float32"))
    y = tf.data.Dataset.from_tensor_slices(np.zeros(16, "int64"))
    dataset = tf.data.Dataset.zip((x, y)).batch(8)
    trajectory = kt.record(run.model(), dataset.repeat(), path, steps=5, verbose=0)
    assert len(trajectory) == 5


def test_dataset_that_ends_early_leaves_a_valid_trajectory(run, path):
    with pytest.raises(ValueError, match="ended after 12 of 20 rounds.*repeat"):
        run.record(path, steps=20)
    assert len(list(kt.Trajectory(path))) == run.steps - run.first


def test_bad_input(run, path, tmp_path):
    for options in ({"start": 12}, {"start": -1}, {"every": 0}, {"steps": 0}):
        with pytest.raises(ValueError, match="keep no round"):
            run.record(path, **options)
    uncompiled = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="not compiled"):
        kt.record(uncompiled, run.batches(), path, steps=3)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ValueError, match="not empty"):
        run.record(tmp_path / "full")


def test_callbacks_see_each_round_and_may_end_training(run, path):
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append((batch, logs["loss"]))
            if len(seen) == 7:
                self.model.stop_training = True

    trajectory = run.record(path, callbacks=[Watch()])
    assert [batch for batch, _ in seen] == list(range(7))
    assert [round.loss for round in trajectory] == [pytest.approx(s[1]) for s in seen[run.first :]]
    seen.clear()
    with pytest.raises(ValueError, match="ended training before round 11"):
        run.record(path.with_name("other"), start=10, callbacks=[Watch()])


def test_callbacks_see_one_epoch(run, path, tmp_path):
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(("begin", epoch, self.params["steps"], self.params["epochs"]))

        def on_epoch_end(self, epoch, logs=None):
            seen.append(("end", epoch, "loss" in logs))

    rates = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate)
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    run.record(path, callbacks=[Watch(), rates, log])
    assert seen == [("begin", 0, run.steps, 1), ("end", 0, True)]
    assert (tmp_path / "log.csv").read_text().startswith("epoch,")


def test_unknown_format(run, path):
    with pytest.raises(ValueError, match="unknown keep='int8'.*bfloat16"):
        run.record(path, keep="int8")
