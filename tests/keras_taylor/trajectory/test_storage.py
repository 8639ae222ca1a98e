"""Tests of record files: whatever is missing or wrong about them is told."""

import errno
import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_taylor.trajectory import storage
from keras_taylor.trajectory.layout import Layout
from keras_taylor.trajectory.sealed import read_json

ROUNDS = 5
NUMBERS = [3, 5, 6, 9, 10]
SHARDS = [2, 2, 1]


def _round(number):
    return {"weights": [np.full((2,), float(number))], "loss": np.float64(number)}


def _write(path, run="a", numbers=NUMBERS):
    path.mkdir()
    writer = storage.Writer(path, run, Layout.of(_round(0)))
    for number in numbers:
        writer.append(number, _round(number))
    writer.close()
    return writer


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(storage, "SHARD_ROUNDS", 2)


@pytest.fixture
def path(tmp_path):
    _write(tmp_path / "run")
    return tmp_path / "run"


def _losses(path, run="a", shards=SHARDS, numbers=NUMBERS):
    layout = Layout.of(_round(0))
    return [float(loss) for _, loss in storage.read(path, run, shards, numbers, layout)]


def test_rounds_come_back_in_order(path):
    assert _losses(path) == NUMBERS
    assert storage.damage(path, "a", SHARDS, NUMBERS) is None
    assert read_json(path / storage.PROGRESS, "a")["shards"] == SHARDS
    assert _losses(path, shards=[], numbers=[]) == []


def _empty(path, tmp_path):
    storage.shard_path(path, 0).write_bytes(b"")


def _shorter(path, tmp_path):
    _write(tmp_path / "other", numbers=NUMBERS[:1])
    shutil.copy(storage.shard_path(tmp_path / "other", 0), path)


def _last_shorter(path, tmp_path):
    storage.shard_path(path, 2).write_bytes(b"")


def _missing(path, tmp_path):
    storage.shard_path(path, 1).unlink()


def _exchanged(path, tmp_path):
    first, second = (storage.shard_path(path, index) for index in (0, 1))
    first.rename(path / "kept")
    second.rename(first)
    (path / "kept").rename(second)


def _of_another_run(path, tmp_path):
    _write(tmp_path / "other", run="b")
    shutil.copy(storage.shard_path(tmp_path / "other", 0), path)


def _of_other_rounds(path, tmp_path):
    _write(tmp_path / "other", numbers=[3, 4])
    shutil.copy(storage.shard_path(tmp_path / "other", 0), path)


def _no_rounds(path, tmp_path):
    with tf.io.TFRecordWriter(str(storage.shard_path(path, 0))) as writer:
        writer.write(b"\x00no example")
        writer.write(b"\x00no example")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_empty, "rounds-00000.tfrecord is truncated: it has 0 of 2 records"),
        (_shorter, "rounds-00000.tfrecord is truncated: it has 1 of 2 records"),
        (_last_shorter, "rounds-00002.tfrecord is truncated: it has 0 of 1 records"),
        (_missing, "rounds-00001.tfrecord is damaged at its record 1"),
        (_exchanged, "00000.tfrecord, record 1: expected that of shard 0, found that of shard 1"),
        (_of_another_run, "rounds-00000.tfrecord, record 1: it is of another run, 'b' instead"),
        (_of_other_rounds, "record 2: expected that of number 5, found that of number 4"),
        (_no_rounds, "rounds-00000.tfrecord, record 1: it is no round"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_wrong_is_told(path, tmp_path, spoil, message):
    spoil(path, tmp_path)
    with pytest.raises(tf.errors.OpError):
        _losses(path)
    assert message in storage.damage(path, "a", SHARDS, NUMBERS)


def test_records_beyond_the_count_are_not_read(path):
    """A process that was killed between a record and its count leaves one."""
    assert _losses(path, shards=[2, 1], numbers=NUMBERS[:3]) == NUMBERS[:3]


def test_a_shard_that_is_begun_again_no_longer_counts(path):
    writer = storage.Writer(path, "a", Layout.of(_round(0)), SHARDS[:1])
    writer._begin_shard()
    assert read_json(path / storage.PROGRESS, "a")["shards"] == SHARDS[:1]
    writer.close()


@pytest.mark.skipif(not tf.io.gfile.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_an_error_of_the_system(tmp_path):
    (tmp_path / "run").mkdir()
    storage.shard_path(tmp_path / "run", 0).symlink_to("/dev/full")
    writer = storage.Writer(tmp_path / "run", "a", Layout.of(_round(0)))
    with pytest.raises(OSError, match="[Nn]o space") as caught:
        writer.append(1, _round(1))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename.endswith("rounds-00000.tfrecord")
    assert read_json(tmp_path / "run" / storage.PROGRESS)["shards"] == []


def test_a_directory_that_is_gone_is_an_error_of_the_system(path):
    shutil.rmtree(path)
    with pytest.raises(OSError, match="progress"):
        storage.Writer(path, "a", Layout.of(_round(0))).append(1, _round(1))
