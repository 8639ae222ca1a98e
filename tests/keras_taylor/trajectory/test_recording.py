"""Tests of recorded training and of the trajectories it leaves."""

import contextlib
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt
from keras_taylor.trajectory import recording, storage

STEPS, START, BATCH = 12, 4, 8


def _model(**options):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(4, "relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dropout(0.2)(hidden)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss=loss, **options)
    return model


def _batches(weighted=False):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(STEPS, BATCH, 5)).astype("float32")
    y = generator.integers(0, 3, (STEPS, BATCH))
    weights = np.linspace(0.5, 1.5, BATCH, dtype="float32")
    return [(a, b, weights) if weighted else (a, b) for a, b in zip(x, y, strict=True)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run"


def _record(path, **options):
    options = {"steps": STEPS, "start": START, "verbose": 0} | options
    return kt.record(_model(), _batches(), path, **options)


def test_rounds_are_those_of_training(path):
    trajectory = _record(path)
    model, expected = _model(), []
    for x, y in _batches():
        weights = [v.numpy() for v in model.trainable_variables]
        model.reset_metrics()
        expected.append((weights, x, y, model.train_on_batch(x, y)))
    rounds = list(trajectory)
    assert len(trajectory) == len(rounds) == STEPS - START
    assert [round.number for round in rounds] == list(range(START + 1, STEPS + 1))
    for found, (weights, x, y, loss) in zip(rounds, expected[START:], strict=True):
        for one, other in zip(found.weights, weights, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(found.x, x)
        np.testing.assert_array_equal(found.y, y)
        assert found.sample_weight is None
        assert found.loss == pytest.approx(float(loss), rel=1e-6)
        assert len(found.non_trainable_weights) == len(model.non_trainable_variables)


def test_training_is_the_same_with_and_without_recording(path):
    recorded, plain = _model(), _model()
    kt.record(recorded, _batches(), path, steps=STEPS, verbose=0)
    for x, y in _batches():
        plain.train_on_batch(x, y)
    for one, other in zip(recorded.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_reading_again_later(path):
    _record(path)
    again = kt.Trajectory(path)
    assert len(again) == STEPS - START
    rebuilt = keras.saving.deserialize_keras_object(again.model_config)
    again.check_model(rebuilt)
    assert next(iter(again)).number == START + 1


def test_thinning_and_shards(path, monkeypatch):
    monkeypatch.setattr(storage, "SHARD_ROUNDS", 2)
    trajectory = _record(path, start=1, every=3)
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


def test_datasets_of_tensorflow(path):
    x = tf.data.Dataset.from_tensor_slices(np.ones((16, 5), "float32"))
    y = tf.data.Dataset.from_tensor_slices(np.zeros(16, "int64"))
    dataset = tf.data.Dataset.zip((x, y)).batch(8)
    trajectory = kt.record(_model(), dataset.repeat(), path, steps=5, verbose=0)
    assert len(trajectory) == 5


def test_dataset_that_ends_early_leaves_a_valid_trajectory(path):
    with pytest.raises(ValueError, match="ended after 12 of 20 rounds.*repeat"):
        _record(path, steps=20)
    assert len(list(kt.Trajectory(path))) == STEPS - START


def test_what_a_killed_process_wrote_stays_readable(path):
    """The file of the shard in progress may end within a record."""
    _record(path)
    shard = storage.shard_path(path, 0)
    shard.write_bytes(shard.read_bytes() + b"\x07half a record")
    assert len(list(kt.Trajectory(path))) == STEPS - START


def test_flipped_byte_names_file_and_record(path):
    _record(path)
    shard = storage.shard_path(path, 0)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"rounds-00000.tfrecord is damaged at its record [3-6]"):
        list(kt.Trajectory(path))
    with pytest.raises(ValueError, match="is damaged"):
        kt.taylor_optimum(kt.Trajectory(path), _model(), verbose=0)


def test_truncated_file_is_told(path):
    _record(path)
    shard = storage.shard_path(path, 0)
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(ValueError, match="damaged at its record 8"):
        list(kt.Trajectory(path))


def test_missing_shard_is_told(path, monkeypatch):
    monkeypatch.setattr(storage, "SHARD_ROUNDS", 4)
    _record(path)
    storage.shard_path(path, 1).unlink()
    with pytest.raises(ValueError, match="rounds-00001"):
        list(kt.Trajectory(path))


def test_another_model_is_refused(path):
    trajectory = _record(path)
    other = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    other.compile(loss="mse")
    with pytest.raises(ValueError, match="recorded from another model"):
        kt.taylor_optimum(trajectory, other, verbose=0)


def test_forward_pass_that_is_no_function_of_the_weights_is_refused(path):
    class Noise(keras.layers.Layer):
        def call(self, x):
            return x + tf.random.normal(tf.shape(x))

    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(3)(Noise()(inputs)))
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="is wrong|not a function"):
        kt.record(model, _batches(), path, steps=STEPS, verbose=0)


def test_bad_input(path, tmp_path):
    for options in ({"start": 12}, {"start": -1}, {"every": 0}, {"steps": 0}):
        with pytest.raises(ValueError, match="keep no round"):
            _record(path, **options)
    uncompiled = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="not compiled"):
        kt.record(uncompiled, _batches(), path, steps=3)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ValueError, match="not empty"):
        _record(tmp_path / "full")
    with pytest.raises(FileNotFoundError, match="holds no trajectory"):
        kt.Trajectory(tmp_path / "full")


def test_full_disk_leaves_a_valid_trajectory(path, monkeypatch):
    original, count = storage.Writer.append, []

    def append(self, structure):
        count.append(1)
        if len(count) > 5:
            raise OSError(28, "No space left on device")
        original(self, structure)

    monkeypatch.setattr(storage.Writer, "append", append)
    with pytest.raises(OSError, match="No space left"):
        _record(path)
    assert len(list(kt.Trajectory(path))) == 5


def test_manifest_is_json_with_the_layout(path):
    _record(path)
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["seed"] == 0
    assert manifest["loss"]["class_name"] == "SparseCategoricalCrossentropy"
    assert set(manifest["versions"]) == {"keras", "keras_taylor"}
    assert manifest["first"] == START + 1
    assert manifest["layout"]["items"]["x"]["shape"] == [None, 5]
    shutil.rmtree(path)


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
def test_recording_goes_on_where_it_was_killed(path, tmp_path, monkeypatch, number):
    monkeypatch.setattr(storage, "SHARD_ROUNDS", 4)
    whole_model = _model()
    whole = kt.record(whole_model, _batches(), tmp_path / "whole", STEPS, START, verbose=0)
    with _kill_at(monkeypatch, number):
        _record(path)
    model = _model()
    if number > START + 1:
        model.set_weights([np.ones_like(w) for w in model.get_weights()])
    again = kt.record(model, _batches(), path, STEPS, START, resume=True, verbose=0)
    _assert_same(again, whole)
    for one, other in zip(model.variables, whole_model.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def _assert_same(again, whole):
    assert len(again) == len(whole)
    for one, other in zip(again, whole, strict=True):
        assert (one.number, one.loss) == (other.number, other.loss)
        for a, b in zip(one.weights, other.weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_recording_can_be_made_longer(path, tmp_path):
    whole = kt.record(_model(), _batches(), tmp_path / "whole", STEPS, START, verbose=0)
    _record(path, steps=7)
    _assert_same(_record(path, resume=True), whole)
    _assert_same(_record(path, resume=True), whole)


def test_wrapped_training_goes_on_too(path, tmp_path):
    def made():
        model = kt.TaylorModel.from_model(_model(), "average")
        tracker = kt.optimizers.RegretTracker(keras.optimizers.Adam(0.01))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(tracker, loss=loss)
        return model

    whole, first, second = made(), made(), made()
    kt.record(whole, _batches(), tmp_path / "whole", STEPS, verbose=0)
    kt.record(first, _batches(), path, 6, verbose=0)
    kt.record(second, _batches(), path, STEPS, resume=True, verbose=0)
    assert float(second.average_taylor_loss()) == float(whole.average_taylor_loss())
    regrets = [float(m.optimizer.linear_regret()) for m in (second, whole)]
    assert regrets[0] == regrets[1]


def test_resuming_another_recording_is_refused(path):
    _record(path)
    for options in ({"every": 2}, {"start": 3}, {"keep": "float32"}):
        with pytest.raises(ValueError, match="holds a recording with"):
            _record(path, resume=True, **options)
    model = _model()
    model.compile("sgd", loss=model.loss)
    with pytest.raises(ValueError, match="another model or optimizer"):
        kt.record(model, _batches(), path, STEPS, START, resume=True, verbose=0)
    (path / "checkpoint.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"checkpoint.npz cannot be read"):
        _record(path, resume=True)


def test_resuming_in_an_empty_directory_begins(path):
    assert len(_record(path, resume=True)) == STEPS - START


def test_weights_in_fewer_bytes(path, tmp_path):
    exact, halved = _record(tmp_path / "exact"), _record(path, keep="bfloat16")
    assert exact.weight_error == 0.0
    assert 0 < halved.weight_error < 1 / 256
    first = next(iter(exact)).weights
    for one, other in zip(halved, exact, strict=True):
        error = moved = 0.0
        for a, b, c in zip(one.weights, other.weights, first, strict=True):
            assert a.dtype == b.dtype
            error, moved = error + np.sum((a - b) ** 2), moved + np.sum((b - c) ** 2)
        assert error <= (halved.weight_error * 1.001) ** 2 * moved + 1e-30
    model = _model()
    found = [kt.taylor_optimum(t, model, tolerance=1e-3, verbose=0) for t in (exact, halved)]
    assert found[1].value == pytest.approx(found[0].value, rel=0.01)


def test_callbacks_see_each_round_and_may_end_training(path):
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append((batch, logs["loss"]))
            if len(seen) == 7:
                self.model.stop_training = True

    trajectory = _record(path, callbacks=[Watch()])
    assert [batch for batch, _ in seen] == list(range(7))
    assert [round.loss for round in trajectory] == [pytest.approx(s[1]) for s in seen[START:]]
    seen.clear()
    with pytest.raises(ValueError, match="ended training before round 11"):
        _record(path.with_name("other"), start=10, callbacks=[Watch()])


def test_unknown_format(path):
    with pytest.raises(ValueError, match="unknown keep='int8'.*bfloat16"):
        _record(path, keep="int8")


def test_weights_that_are_not_finite_are_told(path):
    model = _model()
    weights = model.get_weights()
    weights[0] = np.full_like(weights[0], np.nan)
    model.set_weights(weights)
    with pytest.raises(ValueError, match="not finite at round 5.*diverged"):
        kt.record(model, _batches(), path, STEPS, START, verbose=0)
