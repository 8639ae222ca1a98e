"""Tests of recorded training and of the trajectories it leaves."""

import contextlib
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt
from keras_taylor.trajectory import recording, storage


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


def test_manifest_is_json_with_the_layout(run, recorded):
    manifest = json.loads((recorded[0].path / "manifest.json").read_text())
    assert manifest["seed"] == 0
    assert manifest["loss"]["class_name"] == "SparseCategoricalCrossentropy"
    assert set(manifest["versions"]) == {"keras", "keras_taylor"}
    assert manifest["first"] == run.first + 1
    assert manifest["layout"]["items"]["x"]["shape"] == [None, 5]


def test_recording_can_be_made_longer(run, path, recorded):
    run.record(path, steps=7)
    _assert_same(run.record(path, resume=True), recorded[0])
    _assert_same(run.record(path, resume=True), recorded[0])


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


@pytest.mark.parametrize("names", [["checkpoint.npz"], [".checkpoint.npz"], ["first.npz"]])
def test_a_recording_that_stopped_before_its_manifest_is_begun_again(run, path, names):
    path.mkdir()
    for name in names:
        (path / name).write_bytes(b"half")
    assert len(run.record(path, resume=True)) == run.steps - run.first


def test_thinning_and_shards(run, path, monkeypatch):
    monkeypatch.setattr(storage, "SHARD_ROUNDS", 2)
    trajectory = run.record(path, start=1, every=3)
    assert [round.number for round in trajectory] == [2, 5, 8, 11]
    assert len(list(path.glob("*.tfrecord"))) == 2


def test_structured_batches_sample_weights_and_a_smaller_last_batch(path):
    inputs = {"a": keras.Input((2,)), "b": keras.Input((3,))}
    joined = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
    model = keras.Model(inputs, keras.layers.Dense(1)(joined))
    model.compile("sgd", loss="mse")
    batches = [
        (
            {"a": np.ones((n, 2), "float32"), "b": np.ones((n, 3), "float32")},
            np.ones((n, 1)),
            np.ones(n),
        )
        for n in (4, 4, 3)
    ]
    first, *_, last = kt.record(model, batches, path, steps=3, verbose=0)
    assert set(first.x) == {"a", "b"}
    assert last.x["b"].shape == (3, 3)
    assert last.sample_weight.shape == (3,)


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


def test_forward_pass_that_is_no_function_of_the_weights_is_refused(run, path):
    class Noise(keras.layers.Layer):
        def call(self, x):
            return x + tf.random.normal(tf.shape(x))

    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(3)(Noise()(inputs)))
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="is wrong|not a function"):
        kt.record(model, run.batches(), path, steps=run.steps, verbose=0)


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


def test_full_disk_leaves_a_valid_trajectory(run, path, monkeypatch):
    original, count = storage.Writer.append, []

    def append(self, structure):
        count.append(1)
        if len(count) > 5:
            raise OSError(28, "No space left on device")
        original(self, structure)

    monkeypatch.setattr(storage.Writer, "append", append)
    with pytest.raises(OSError, match="No space left"):
        run.record(path)
    assert len(list(kt.Trajectory(path))) == 5


class KilledError(Exception):
    """Stands for the end of the process."""


@contextlib.contextmanager
def _kill_at(monkeypatch, number):
    """Lets the next recording end at a round, as if its process had been killed there."""
    original = recording._train_round

    def train(model, at, batch, recorder):
        if at == number:
            raise KilledError
        return original(model, at, batch, recorder)

    monkeypatch.setattr(recording, "_train_round", train)
    with pytest.raises(KilledError):
        yield
    monkeypatch.setattr(recording, "_train_round", original)


@pytest.mark.parametrize("number", [5, 6, 8, 9, 12])
def test_recording_goes_on_where_it_was_killed(run, path, recorded, monkeypatch, number):
    monkeypatch.setattr(storage, "SHARD_ROUNDS", 4)
    whole, whole_model = recorded
    with _kill_at(monkeypatch, number):
        run.record(path)
    model = run.model()
    if number > run.first + 1:
        model.set_weights([np.ones_like(w) for w in model.get_weights()])
    again = run.record(path, model, resume=True)
    _assert_same(again, whole)
    for one, other in zip(model.variables, whole_model.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def _assert_same(again, whole):
    assert len(again) == len(whole)
    for one, other in zip(again, whole, strict=True):
        assert (one.number, one.loss) == (other.number, other.loss)
        for a, b in zip(one.weights, other.weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_wrapped_training_goes_on_too(run, path, tmp_path):
    def made():
        model = kt.TaylorModel.from_model(run.model(), "average")
        tracker = kt.optimizers.RegretTracker(keras.optimizers.Adam(0.01))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(tracker, loss=loss)
        return model

    whole, first, second = made(), made(), made()
    kt.record(whole, run.batches(), tmp_path / "whole", run.steps, verbose=0)
    kt.record(first, run.batches(), path, 6, verbose=0)
    kt.record(second, run.batches(), path, run.steps, resume=True, verbose=0)
    assert float(second.average_taylor_loss()) == float(whole.average_taylor_loss())
    regrets = [float(m.optimizer.linear_regret()) for m in (second, whole)]
    assert regrets[0] == regrets[1]


def test_resuming_another_recording_is_refused(run, copied):
    path = copied
    for options in ({"every": 2}, {"start": 3}, {"keep": "float32"}):
        with pytest.raises(ValueError, match="holds a recording with"):
            run.record(path, resume=True, **options)
    model = run.model()
    model.compile("sgd", loss=model.loss)
    with pytest.raises(ValueError, match="another model or optimizer"):
        run.record(path, model, resume=True)
    (path / "checkpoint.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"checkpoint.npz cannot be read"):
        run.record(path, resume=True)


def test_resuming_in_an_empty_directory_begins(run, path):
    assert len(run.record(path, resume=True)) == run.steps - run.first


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


def test_unknown_format(run, path):
    with pytest.raises(ValueError, match="unknown keep='int8'.*bfloat16"):
        run.record(path, keep="int8")


def test_weights_that_are_not_finite_are_told(run, path):
    model = run.model()
    weights = model.get_weights()
    weights[0] = np.full_like(weights[0], np.nan)
    model.set_weights(weights)
    with pytest.raises(ValueError, match="not finite at round 5.*diverged"):
        run.record(path, model)
