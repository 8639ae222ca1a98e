"""Tests of what of a `TaylorModel` travels in checkpoints and files, beside .keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt

X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")


def _model(comparator="average"):
    keras.utils.set_random_seed(0)
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model = kt.TaylorModel.from_model(plain, comparator)
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def _fit(model):
    return model.fit(X, X[:, :2], batch_size=4, shuffle=False, verbose=0).history


@pytest.mark.parametrize("frozen", [False, True])
def test_comparators_and_sums_travel_in_checkpoints(tmp_path, frozen):
    """Also those that are made anew because a layer was frozen before the first round."""
    model, other = _model(), _model()
    for each in (model, other):
        each.layers[-1].bias.trainable = not frozen
    _fit(model)
    path = tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
    if frozen:
        _fit(other)
    tf.train.Checkpoint(model=other).restore(path).assert_existing_objects_matched()
    assert float(other.average_taylor_loss()) == float(model.average_taylor_loss())
    assert _fit(other) == _fit(model)


def test_other_comparators_and_plain_models(tmp_path):
    model = _model({"a": "average", "b": "initial"})
    _fit(model)
    path = tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
    with pytest.raises(ValueError, match="incompatible"):
        tf.train.Checkpoint(model=_model()).restore(path)
    assert len(model.weights) == 2


def test_h5_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no place for its comparators"):
        _model().save(tmp_path / "model.h5")
