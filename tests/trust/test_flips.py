"""Random bit flips over all files of recordings: every one of them has to be told."""

import collections
import shutil

import keras
import numpy as np
import pytest
from hostile import flip, is_told, read_all

import keras_taylor as kt
from keras_taylor.trajectory import storage

pytestmark = pytest.mark.slow
FLIPS, SOLVE_EVERY, STEPS = 250, 10, 40
KINDS = {
    "whole": {},
    "thinned in bfloat16": {"keep": "bfloat16", "every": 2},
    "sample in float32": {"keep": "float32", "sample": 16},
    "sample of examples": {"keep": "bfloat16", "sample": 16, "examples": 2},
}
# Files that one way of reading does not read, or makes again.
UNREAD = {
    "checkpoint.npz": {"iteration", "optimum"},
    "sums.npz": {"resume"},
}


def _model():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, "relu"), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(keras.optimizers.Adam(0.01), loss="mse")
    return model


def _record(path, model, options, **more):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(STEPS, 4, 3))
    batches = list(zip(x, np.tanh(x[..., :2]), strict=True))
    return kt.record(model, batches, path, steps=STEPS, verbose=0, **options, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_no_flip_is_silent(kind, tmp_path, monkeypatch, count, record_property):
    monkeypatch.setattr(storage, "SHARD_ROUNDS", 8)
    path, model, generator = tmp_path / "run", _model(), np.random.default_rng(0)
    _record(path, model, KINDS[kind])
    pristine = shutil.copytree(path, tmp_path / "pristine")
    told, silent, flips = collections.Counter(), [], count(FLIPS)

    def resume():
        _record(path, model, KINDS[kind], resume=True)

    def solve(trajectory):
        kt.taylor_optimum(trajectory, model, max_passes=1, verbose=0)

    for number in range(flips):
        undo, file = flip(path, generator)
        errors = read_all(path, resume, None if number % SOLVE_EVERY else solve)
        for way, error in errors.items():
            if way in UNREAD.get(file.name, ()):
                continue
            if is_told(error, file):
                told[way] += 1
            else:
                silent.append((file.name, way, repr(error)))
        undo()
    record_property("flips", flips)
    record_property("readings that told", dict(told))
    record_property("silent", len(silent))
    assert not silent
    for file in pristine.iterdir():
        assert (path / file.name).exists()
    assert set(read_all(path, resume, solve).values()) == {None}
