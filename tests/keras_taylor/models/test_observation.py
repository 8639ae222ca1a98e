"""Tests of watching a training step from within."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_taylor.models.observation import Watched, may_share, observed, observed_apart
from keras_taylor.models.tracking import training_batch

pytestmark = pytest.mark.optimized_graphs


class WatchedModel(Watched, keras.Model):
    """A functional model that can be watched."""


@pytest.fixture
def model():
    inputs = keras.Input((2,))
    outputs = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs)
    model = WatchedModel(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    return model


X, Y = np.array([[1.0, 2.0], [0.0, 1.0]], "float32"), np.zeros((2, 1), "float32")


@pytest.fixture
def batch(model):
    return training_batch(model, *map(keras.ops.convert_to_tensor, (X, Y)), None)


def _step(batch):
    outputs = batch.model(batch.x, training=True)
    # As Keras' own step does.
    return batch.model._compute_loss(x=batch.x, y=batch.y, y_pred=outputs)


@pytest.mark.parametrize("observe", [observed, observed_apart])
def test_loss_and_taylor_loss_are_those_of_the_step(batch, observe):
    direction = [keras.ops.convert_to_tensor([[1.0], [-1.0]])]
    if observe is observed_apart:
        batch = dataclasses.replace(batch, state=[])
    (value,), loss = observe(batch, [direction], lambda: _step(batch))
    # Outputs of 3 and 1, which both move by -1.
    assert float(value) == pytest.approx((4 + 0) / 2)
    assert float(loss) == pytest.approx((9 + 1) / 2)


def test_the_forward_pass_runs_once(batch):
    calls, layer = [], batch.model.layers[-1]
    original = layer.call
    layer.call = lambda *inputs, **options: calls.append(1) or original(*inputs, **options)
    observed(batch, [], lambda: _step(batch))
    assert len(calls) == 1


def test_nobody_watches_afterwards(batch):
    def fail():
        _step(batch)
        raise KeyError("step")

    with pytest.raises(KeyError):
        observed(batch, [], fail)
    assert (batch.model._on_call, batch.model._on_loss) == (None, None)
    assert float(_step(batch)) == pytest.approx(5.0)


def test_which_models_share_the_forward_pass_of_training():
    def built(layer):
        inputs = keras.Input((2,))
        return keras.Model(inputs, layer(keras.layers.Dense(2, "relu")(inputs)))

    assert may_share(built(keras.layers.BatchNormalization()), "layerwise")
    assert not may_share(built(keras.layers.BatchNormalization()), "whole")
    assert not may_share(built(keras.layers.LayerNormalization()), "layerwise")
    assert not may_share(built(keras.layers.Dense(2, "gelu")), "layerwise")
    assert not may_share(built(lambda x: keras.layers.Add()([x, x])), "layerwise")
