"""A recording of which any bit is another one is told by whoever reads it; see also tests/trust."""

import shutil

import keras
import numpy as np
import pytest
from hostile import flip, is_told, read_all

import keras_taylor as kt

FLIPS = 40
# Which ways of reading have to tell a damage of a file; the others do not read it, or go on.
READERS = {"checkpoint.npz": ["resume"], "sums.npz": ["iteration"]}


def _model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    return model


def _record(path, model, **options):
    generator = np.random.default_rng(0)
    batches = list(zip(generator.normal(size=(20, 4, 3)), np.ones((20, 4, 2)), strict=True))
    options = {"steps": 20, "sample": 8, "examples": 2, "keep": "bfloat16"} | options
    return kt.record(model, batches, path, verbose=0, **options)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("damage") / "run"
    _record(path, _model())
    return path


def test_no_flipped_bit_is_silent(recorded, tmp_path):
    path, model = shutil.copytree(recorded, tmp_path / "run"), _model()
    generator, seen = np.random.default_rng(0), set()

    def resume():
        _record(path, model, resume=True)

    for _ in range(FLIPS):
        undo, file = flip(path, generator)
        errors = read_all(path, resume)
        for way in READERS.get(file.name, ["iteration", "resume"]):
            assert is_told(errors[way], file), (file.name, way, errors[way])
        undo()
        seen.add(file.name)
    assert seen == {each.name for each in path.iterdir()}
    assert read_all(path, resume) == {"iteration": None, "resume": None}
