"""Tests of recordings that stopped and go on: killed, out of disk, interrupted, at any point."""

import contextlib

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.trajectory import recording, replacing, sealed, storage


def test_recording_can_be_made_longer(run, path, recorded):
    run.record(path, steps=7)
    _assert_same(run.record(path, resume=True), recorded[0])
    _assert_same(run.record(path, resume=True), recorded[0])


@pytest.mark.parametrize(
    "names",
    [
        ["checkpoint.npz"],
        [".checkpoint.npz", ".lock"],
        ["checkpoint.npz", "first.npz", "progress.json", ".manifest.json"],
    ],
)
def test_a_recording_that_stopped_before_its_manifest_is_begun_again(run, path, names):
    path.mkdir()
    for name in names:
        (path / name).write_bytes(b"half")
    assert len(run.record(path, resume=True)) == run.steps - run.first


@pytest.mark.parametrize(
    ("name", "rounds"),
    [("checkpoint.npz", 0), ("manifest.json", 0), ("checkpoint.npz", 4)],
)
def test_a_recording_goes_on_after_any_file_filled_the_disk(
    run, path, recorded, monkeypatch, name, rounds
):
    """The disk fills in the first file of that name, or in the first after some rounds."""
    monkeypatch.setattr(storage, "SHARD_ROUNDS", 4)
    original = replacing.replacing

    @contextlib.contextmanager
    def full(file):
        with original(file) as opened:
            yield opened
            if file.name == name and (not rounds or storage.shard_path(path, 0).exists()):
                raise OSError(28, "No space left on device")

    monkeypatch.setattr(sealed, "replacing", full)
    with pytest.raises(OSError, match="No space left"):
        run.record(path)
    monkeypatch.setattr(sealed, "replacing", original)
    if rounds:
        assert len(list(kt.Trajectory(path))) == rounds
    _assert_same(run.record(path, resume=True), recorded[0])


def test_full_disk_leaves_a_valid_trajectory(run, path, monkeypatch):
    original, count = storage.Writer.append, []

    def append(self, *round):
        count.append(1)
        if len(count) > 5:
            raise OSError(28, "No space left on device")
        original(self, *round)

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


@pytest.mark.parametrize(
    ("number", "shard_rounds"), [(5, 4), (6, 64), (8, 4), (9, 4), (12, 4), (12, 64)]
)
def test_recording_goes_on_where_it_was_killed(
    run, path, recorded, monkeypatch, number, shard_rounds
):
    """Also before the first shard is full."""
    monkeypatch.setattr(storage, "SHARD_ROUNDS", shard_rounds)
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


def test_resuming_in_an_empty_directory_begins(run, path):
    assert len(run.record(path, resume=True)) == run.steps - run.first


def test_a_second_recording_in_the_same_directory_is_refused_at_once(run, path):
    class Second(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch in (0, 8):
                for resume in (False, True):
                    with pytest.raises(ValueError, match="is being recorded into by process"):
                        run.record(path, self.model, resume=resume)

    assert len(list(run.record(path, callbacks=[Second()]))) == run.steps - run.first
    assert not (path / ".lock").exists()


def test_error_of_the_weights_is_that_of_all_rounds_after_resuming(run, path, tmp_path):
    whole = run.record(tmp_path / "whole", keep="bfloat16").weight_error
    for steps in (7, 9, run.steps):
        found = run.record(path, keep="bfloat16", steps=steps, resume=True).weight_error
    assert found == whole > 0
    assert run.record(path, keep="bfloat16", resume=True).weight_error == whole
