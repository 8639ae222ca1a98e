"""A short run of a small network, and its recording, which is made once."""

import shutil

import keras
import numpy as np
import pytest

import keras_taylor as kt


class Run:
    """Twelve rounds of training, of which the last eight are kept."""

    steps, first, batch_size = 12, 4, 8

    @staticmethod
    def model(**options):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((5,))
        hidden = keras.layers.BatchNormalization()(keras.layers.Dense(4, "relu")(inputs))
        model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dropout(0.2)(hidden)))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01), loss=loss, **options)
        return model

    @classmethod
    def batches(cls):
        generator = np.random.default_rng(0)
        x = generator.normal(size=(cls.steps, cls.batch_size, 5)).astype("float32")
        return list(zip(x, generator.integers(0, 3, (cls.steps, cls.batch_size)), strict=True))

    @classmethod
    def record(cls, path, model=None, **options):
        options = {"steps": cls.steps, "start": cls.first, "verbose": 0} | options
        return kt.record(model or cls.model(), cls.batches(), path, **options)


@pytest.fixture(scope="session")
def run():
    return Run


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """The trajectory of the run, not to be changed, and the model after it."""
    model = Run.model()
    return Run.record(tmp_path_factory.mktemp("recorded") / "run", model), model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def copied(recorded, path):
    """The directory of a copy of the recording."""
    return shutil.copytree(recorded[0].path, path)
