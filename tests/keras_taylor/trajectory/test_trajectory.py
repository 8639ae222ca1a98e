"""Tests of reading a trajectory, whole and damaged."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt
from keras_taylor.trajectory import storage


def test_reading_again_later(run, recorded):
    again = kt.Trajectory(recorded[0].path)
    assert len(again) == run.steps - run.first
    rebuilt = keras.saving.deserialize_keras_object(again.model_config)
    again.check_model(rebuilt)
    assert next(iter(again)).number == run.first + 1


def test_fields_of_the_dataset_are_those_of_the_rounds(recorded):
    trajectory = recorded[0]
    for tensors, round in zip(trajectory.dataset(), trajectory, strict=True):
        weights, state, x, y, sample_weight, loss = trajectory.unpack(tensors)
        for one, other in zip(
            [*weights, *state], [*round.weights, *round.non_trainable_weights], strict=True
        ):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(x, round.x)
        np.testing.assert_array_equal(y, round.y)
        assert sample_weight is round.sample_weight is None
        assert float(loss) == round.loss


def test_what_a_killed_process_wrote_stays_readable(run, copied):
    """The file of the shard in progress may end within a record."""
    shard = storage.shard_path(copied, 0)
    shard.write_bytes(shard.read_bytes() + b"\x07half a record")
    assert len(list(kt.Trajectory(copied))) == run.steps - run.first


def test_flipped_byte_names_file_and_record(run, copied):
    shard = storage.shard_path(copied, 0)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"rounds-00000.tfrecord is damaged at its record [3-6]"):
        list(kt.Trajectory(copied))
    with pytest.raises(ValueError, match="is damaged"):
        kt.taylor_optimum(kt.Trajectory(copied), run.model(), verbose=0)


def test_truncated_file_is_told(copied):
    shard = storage.shard_path(copied, 0)
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(ValueError, match="damaged at its record 8"):
        list(kt.Trajectory(copied))


def test_missing_shard_is_told(run, path, monkeypatch):
    monkeypatch.setattr(storage, "SHARD_ROUNDS", 4)
    run.record(path)
    storage.shard_path(path, 1).unlink()
    with pytest.raises(ValueError, match="rounds-00001"):
        list(kt.Trajectory(path))


def test_solving_tells_what_is_missing(run, copied):
    storage.shard_path(copied, 0).write_bytes(b"")
    with pytest.raises(ValueError, match=r"rounds-00000.tfrecord is truncated: it has 0 of 8"):
        kt.taylor_optimum(kt.Trajectory(copied), run.model(), verbose=0)


@pytest.mark.parametrize("name", ["progress.json", "manifest.json"])
def test_a_file_of_another_run_is_told(run, copied, tmp_path, name):
    other = run.record(tmp_path / "other", steps=6)
    shutil.copy(other.path / name, copied)
    with pytest.raises(ValueError, match=r"progress.json is of another run"):
        kt.Trajectory(copied)


def test_counts_that_were_edited_are_told(copied):
    file = copied / "progress.json"
    file.write_text(file.read_text().replace("[8]", "[7]"))
    with pytest.raises(ValueError, match=r"progress.json is damaged"):
        kt.Trajectory(copied)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"progress.json"):
        kt.Trajectory(copied)


def test_errors_of_others_pass_as_they_are(recorded):
    with pytest.raises(tf.errors.InvalidArgumentError, match="mine"), recorded[0].damage_told():
        raise tf.errors.InvalidArgumentError(None, None, "mine")


def test_another_model_is_refused(recorded):
    other = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    other.compile(loss="mse")
    with pytest.raises(ValueError, match="recorded from another model"):
        kt.taylor_optimum(recorded[0], other, verbose=0)


def test_a_model_of_the_same_shapes_is_compared_by_its_configuration(run, recorded):
    recorded[0].check_model(run.model())
    config = run.model().get_config()
    (layer,) = (each for each in config["layers"] if each["config"].get("activation") == "relu")
    layer["config"]["activation"] = "tanh"
    other = keras.Model.from_config(config)
    with pytest.raises(ValueError, match="activation was 'relu', now it is 'tanh'"):
        recorded[0].check_model(other)


def test_a_directory_without_a_trajectory_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no trajectory"):
        kt.Trajectory(tmp_path)
