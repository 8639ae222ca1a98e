"""Tests of what is compared of two models, losses and optimizers, and what is not."""

import json

import keras
import pytest
from keras import layers, losses

import keras_taylor as kt
from keras_taylor.trajectory.identity import (
    difference,
    identity,
    loss_identity,
    model_identity,
    optimizer_identity,
)


def _model(activation="relu", **options):
    inputs = keras.Input((5,), batch_size=options.pop("batch_size", None))
    hidden = layers.Dense(3, activation, **options)(inputs)
    other = layers.Dense(3, kernel_initializer="zeros")(hidden)
    return keras.Model(inputs, layers.Dropout(0.1)(layers.Add()([hidden, other])))


def _compiled(loss="mse", optimizer="sgd", **options):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile(optimizer, loss=loss, **options)
    return model


def test_names_batch_sizes_and_wrapping_do_not_count():
    plain = model_identity(_model())
    for same in (_model(name="other"), _model(batch_size=4), kt.TaylorModel.from_model(_model())):
        assert difference(plain, model_identity(same)) is None
    sequential = _compiled()
    wrapped = kt.TaylorModel.from_model(sequential)
    assert difference(model_identity(sequential), model_identity(wrapped)) is None


def test_names_of_operations_between_layers_do_not_count():
    def build():
        inputs = keras.Input((5,))
        # Each has a name with a number that counts those of the process.
        return keras.Model(inputs, layers.Dense(5)(inputs) + keras.ops.tanh(inputs))

    one, other = build(), build()
    assert [x.name for x in one.operations] != [x.name for x in other.operations]
    assert difference(model_identity(one), model_identity(other)) is None


def test_what_is_computed_counts():
    plain, found = model_identity(_model()), model_identity(_model("tanh"))
    assert difference(plain, found, "model") == (
        "model.config.layers[1].config.activation was 'relu', now it is 'tanh'"
    )
    inputs = keras.Input((5,))
    hidden = layers.Dense(3, "relu")(inputs)
    # The same layers, connected in another way.
    twice = layers.Add()([hidden, layers.Dense(3)(inputs)])
    assert difference(plain, model_identity(keras.Model(inputs, layers.Dropout(0.1)(twice))))
    float64 = model_identity(_model(dtype="float64"))
    assert "dtype" in difference(plain, float64)


def test_between_versions_of_keras_only_shared_options_count():
    one, other = {"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2, "new": True}}
    assert difference(one, other) == "b.new was None, now it is True"
    assert difference(one, other, only_shared=True) is None
    assert difference(one, other | {"a": 3}, only_shared=True) == "a was 1, now it is 3"


def test_models_that_keras_cannot_serialise_have_none():
    class Own(keras.Model):
        def __init__(self, width):
            super().__init__()
            self.dense = layers.Dense(width)

        def call(self, x):
            return self.dense(x)

    assert model_identity(Own(3)) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mse", losses.MeanSquaredError(name="x")),
        ("mse", losses.mean_squared_error),
        (["mse"], "mse"),
        ("sparse_categorical_crossentropy", losses.SparseCategoricalCrossentropy()),
        (losses.MeanSquaredError(reduction="mean"), "mse"),
        (losses.MeanSquaredError(reduction=None), losses.MeanSquaredError(reduction="none")),
    ],
)
def test_the_same_loss_by_other_names(one, other):
    assert difference(loss_identity(_compiled(one)), loss_identity(_compiled(other))) is None
    assert difference(loss_identity(_compiled(one)), loss_identity(_compiled("mae"), other)) is None


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ("mse", "mae", "loss.function was 'mean_squared_error', now it is 'mean_absolute_error'"),
        ("mse", losses.MeanSquaredError(reduction="sum"), "loss.reduction was 'sum_over_batch_"),
        (losses.Huber(), losses.Huber(2.0), "loss.options.delta was 1.0, now it is 2.0"),
        (None, "mse", "loss was None, now it is"),
    ],
)
def test_other_losses(one, other, message):
    found = difference(loss_identity(_compiled(one)), loss_identity(_compiled(other)))
    assert message in found


def test_losses_by_output_and_their_weights():
    def made(names, **options):
        inputs = keras.Input((2,))
        outputs = [layers.Dense(1, name=name)(inputs) for name in names]
        model = keras.Model(inputs, outputs)
        model.compile("sgd", **options)
        return loss_identity(model)

    one = made("ab", loss={"a": "mse", "b": "mae"}, loss_weights={"a": 2.0})
    other = made("cd", loss=["mse", "mae"], loss_weights=[2.0, None])
    assert difference(one, other) is None
    assert "weights[0] was 2.0" in difference(one, made("ab", loss={"a": "mse", "b": "mae"})) or (
        "weights was" in difference(one, made("ab", loss={"a": "mse", "b": "mae"}))
    )


def test_optimizers_without_their_rate():
    adam = optimizer_identity(keras.optimizers.Adam(0.1))
    assert difference(adam, optimizer_identity(keras.optimizers.Adam(0.2, name="x"))) is None
    assert "beta_1" in difference(adam, optimizer_identity(keras.optimizers.Adam(beta_1=0.5)))
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    assert "learning_rate" in difference(
        adam, optimizer_identity(keras.optimizers.Adam(schedule)), "optimizer"
    )
    tracked = optimizer_identity(kt.optimizers.RegretTracker(keras.optimizers.Adam(0.1)))
    assert "class_name was 'Adam', now it is 'RegretTracker'" in difference(adam, tracked, "o")


@pytest.mark.filterwarnings("error")
def test_functions_of_the_user_by_their_names():
    def own(y, p):
        return y - p

    model = _compiled(own)
    assert loss_identity(model)["loss"]["function"] == "own"
    assert loss_identity(_compiled(lambda y, p: p))["loss"]["function"] == "<lambda>"
    assert json.loads(json.dumps(identity(model))) == identity(model)
