"""Disks that fill at any point of a recording: an OSError, and the recording goes on later."""

import errno
import os
import subprocess

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.trajectory import storage

pytestmark = pytest.mark.slow
TRIALS, STEPS = 30, 40
# The whole recording takes less than the most.
LEAST, MOST = 8, 350


@pytest.fixture
def disk(tmp_path):
    """Returns a function that mounts a small file system, or makes it larger."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(kilobytes, again=False):
        options = f"size={kilobytes}k" + (",remount" if again else "")
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], check=True)
        return place

    try:
        mount(LEAST)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    subprocess.run(["umount", place], check=True)
    yield mount
    while os.path.ismount(place):
        subprocess.run(["umount", place], check=True)


def _record(path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(40, "relu")])
    model.compile(keras.optimizers.Adam(0.01), loss="mse")
    generator = np.random.default_rng(0)
    batches = [(generator.normal(size=(8, 20)), np.ones((8, 40))) for _ in range(STEPS)]
    options = {"steps": STEPS, "sample": 30, "keep": "float32", "resume": True, "verbose": 0}
    return kt.record(model, batches, path, **options)


def _content(trajectory):
    rounds = [(r.number, r.loss, *(w.tolist() for w in r.weights)) for r in trajectory]
    sums = trajectory.sums
    return rounds, [(end, sums.average_loss(end)) for end in sums.ends]


def test_a_full_disk_is_told_and_loses_nothing(disk, tmp_path, monkeypatch, count, record_property):
    monkeypatch.setattr(storage, "SHARD_ROUNDS", 8)
    expected = _content(_record(tmp_path / "whole"))
    generator, told, kept, trials = np.random.default_rng(0), [], 0, count(TRIALS)
    for _ in range(trials):
        place = disk(int(generator.integers(LEAST, MOST)))
        path = place / "run"
        try:
            _record(path)
        except OSError as error:
            told.append(error.errno)
            kept += len(list(kt.Trajectory(path))) if (path / "manifest.json").exists() else 0
        disk(10 * MOST, again=True)
        assert _content(_record(path)) == expected
        subprocess.run(["umount", place], check=True)
    record_property("disks", trials)
    record_property("that filled", len(told))
    record_property("rounds that stayed readable", kept)
    record_property("different after going on", 0)
    assert set(told) == {errno.ENOSPC}
    assert len(told) > trials / 3
