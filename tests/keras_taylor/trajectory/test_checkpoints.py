"""Tests of the state that training goes on from."""

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.trajectory.checkpoints import Checkpoint


def _model(width=3):
    inputs = keras.Input((2,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(width)(inputs))
    plain = keras.Model(inputs, keras.layers.Dropout(0.5)(hidden))
    model = kt.TaylorModel.from_model(plain, "average")
    model.compile(kt.optimizers.RegretTracker(keras.optimizers.Adam(0.1)), loss="mse")
    return model


def _train(model, rounds):
    for number in range(rounds):
        model.train_on_batch(np.full((4, 2), 1.0 + number), np.ones((4, model.output_shape[-1])))


def test_state_is_restored_whole(tmp_path):
    model = _model()
    _train(model, 3)
    Checkpoint(model, tmp_path, "a").save(4, [2, 1], 0.25, {"losses": np.arange(2.0)})
    other = _model()
    checkpoint = Checkpoint(other, tmp_path, "a")
    assert checkpoint.restore() == 4
    assert (checkpoint.shards, checkpoint.weight_error) == ([2, 1], 0.25)
    assert {name: array.tolist() for name, array in checkpoint.sums.items()} == {"losses": [0, 1]}
    for one in (model, other):
        _train(one, 2)
    for one, another in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(one, another)
    for one, another in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, another)
    assert float(model.average_taylor_loss()) == float(other.average_taylor_loss())


def test_saving_again_replaces(tmp_path):
    checkpoint = Checkpoint(_model(), tmp_path, "a")
    checkpoint.save(1, [])
    checkpoint.save(9, [8])
    assert checkpoint.restore() == 9
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint.npz cannot be read"):
        Checkpoint(_model(), tmp_path, "a").restore()
    Checkpoint(_model(), tmp_path, "a").save(1, [])
    with pytest.raises(ValueError, match="another model or optimizer"):
        Checkpoint(_model(5), tmp_path, "a").restore()
    with pytest.raises(ValueError, match="is of another run"):
        Checkpoint(_model(), tmp_path, "b").restore()
