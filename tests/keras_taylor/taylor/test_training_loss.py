"""Tests of which loss a model trains on."""

import keras
import pytest

import keras_taylor as kt
from keras_taylor.taylor.own_losses import OwnLoss
from keras_taylor.taylor.training_loss import loss_owner, training_loss


class Own(keras.Model):
    """Has a loss of its own."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(y_pred)


class OwnStep(keras.Model):
    """Has a step of its own."""

    def train_step(self, data):
        return {}


def _model(kind=keras.Model, **options):
    inputs = keras.Input((4,))
    model = kind(inputs, keras.layers.Dense(2)(inputs))
    if options:
        model.compile("sgd", **options)
    return model


def test_it_is_the_compiled_one_or_that_which_is_given():
    model = _model(loss="mse")
    assert training_loss(model) is model._compile_loss
    given = training_loss(model, "mae")
    assert training_loss(model, given) is given is not model._compile_loss


def test_it_is_the_method_of_the_model_or_of_the_one_whose_layers_it_has():
    own = _model(Own, loss=None)
    assert training_loss(own) == OwnLoss(own, None)
    assert training_loss(own).name == "Own.compute_loss"
    taylor = kt.TaylorModel.from_model(own)
    taylor.compile("sgd", "mse")
    assert training_loss(taylor) == OwnLoss(own, taylor._compile_loss)
    assert not isinstance(training_loss(own, "mse"), OwnLoss)
    # A method that is put on the model itself.
    model = _model(loss="mse")
    assert loss_owner(model) is None
    model.compute_loss = lambda *args, **kwargs: 0.0
    assert loss_owner(model) is model


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (keras.Model, {}, "not compiled and no loss was given"),
        (Own, {}, "not compiled and no loss was given"),
        (keras.Model, {"loss": None}, "compiled without a loss: compile it with one"),
        (OwnStep, {"loss": None}, "a train_step of its own and was compiled without a loss"),
    ],
)
def test_no_loss(kind, options, message):
    with pytest.raises(ValueError, match=message):
        training_loss(_model(kind, **options))
