"""Tests of where losses are expanded, and of the loss as a function of these points."""

import keras
import numpy as np
import pytest
from keras import layers, losses

from keras_taylor.taylor.endings import ends_in_logits
from keras_taylor.taylor.outputs import OutputLoss
from keras_taylor.taylor.training_loss import training_loss


def _model(activation, loss, units=3):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(units, activation)(inputs))
    model.compile(loss=loss)
    return model


def _expanded(model, y):
    outputs = model(np.random.default_rng(0).normal(size=(5, 4)))
    output_loss = OutputLoss.of(training_loss(model), y, outputs)
    return output_loss, outputs, output_loss.points(outputs)


LABELS = np.array([0, 1, 2, 1, 0])


@pytest.mark.parametrize(
    ("activation", "loss", "y"),
    [
        ("softmax", losses.SparseCategoricalCrossentropy(), LABELS),
        ("softmax", "sparse_categorical_crossentropy", LABELS),
        ("softmax", "categorical_crossentropy", np.eye(3)[LABELS]),
        ("sigmoid", losses.BinaryCrossentropy(label_smoothing=0.1), np.eye(3)[LABELS]),
        ("sigmoid", "binary_crossentropy", np.eye(3)[LABELS]),
    ],
)
def test_cross_entropies_on_probabilities_are_expanded_at_the_logits(activation, loss, y):
    model = _model(activation, loss)
    output_loss, outputs, (point,) = _expanded(model, y)
    np.testing.assert_allclose(keras.activations.get(activation)(point), outputs, rtol=1e-6)
    np.testing.assert_allclose(
        output_loss(y, outputs, [point]), model.compute_loss(y=y, y_pred=outputs), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("activation", "loss"),
    [("softmax", "mse"), (None, losses.CategoricalCrossentropy(from_logits=True)), (None, "mae")],
)
def test_all_else_is_expanded_at_the_output(activation, loss):
    model = _model(activation, loss)
    _, outputs, (point,) = _expanded(model, np.eye(3)[LABELS])
    assert point is outputs


def test_single_probability_with_flat_labels():
    model = _model("sigmoid", "binary_crossentropy", units=1)
    y = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    output_loss, outputs, points = _expanded(model, y)
    expected = model.compute_loss(y=y, y_pred=outputs)
    np.testing.assert_allclose(output_loss(y, outputs, points), expected, rtol=1e-6)


def test_a_given_loss_goes_before_the_compiled_one():
    model = _model(None, "mse")
    outputs = model(np.ones((5, 4)))
    output_loss = OutputLoss.of(training_loss(model, "mae"), np.zeros((5, 3)), outputs)
    points = output_loss.points(outputs)
    expected = np.abs(outputs).mean()
    np.testing.assert_allclose(output_loss(np.zeros((5, 3)), outputs, points), expected, rtol=1e-6)


def test_loss_trackers_of_single_outputs_are_left_alone():
    inputs = keras.Input((4,))
    outputs = [layers.Dense(2, name="a")(inputs), layers.Dense(1, name="b")(inputs)]
    model = keras.Model(inputs, outputs)
    model.compile(loss=["mse", "mae"])
    x, y = np.ones((5, 4)), [np.ones((5, 2)), np.ones((5, 1))]
    model.evaluate(x, y, verbose=0)
    before = [variable.numpy() for metric in model.metrics for variable in metric.variables]
    found = model(x)
    output_loss = OutputLoss.of(training_loss(model), y, found)
    output_loss(y, found, output_loss.points(found))
    after = [variable.numpy() for metric in model.metrics for variable in metric.variables]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_output_is_made_again_from_its_point():
    model = _model("softmax", "sparse_categorical_crossentropy")
    output_loss, outputs, (point,) = _expanded(model, LABELS)
    assert ends_in_logits(outputs)
    again = output_loss.output_at(point, from_logits=True)
    np.testing.assert_allclose(again, outputs, rtol=1e-6)
    output_loss, _, (point,) = _expanded(_model(None, "mse"), np.eye(3)[LABELS])
    assert output_loss.output_at(point, from_logits=False) is point


def test_losses_of_single_outputs_are_replaced_with_their_weights():
    inputs = keras.Input((4,))
    outputs = {"a": layers.Dense(2, name="a")(inputs), "b": layers.Dense(1, name="b")(inputs)}
    model = keras.Model(inputs, outputs)
    model.compile(loss={"a": "mse", "b": "mae"}, loss_weights={"a": 2.0, "b": 0.5})
    x, y = np.ones((5, 4)), {"a": np.ones((5, 2)), "b": np.zeros((5, 1))}
    found = model(x)
    output_loss = OutputLoss.of(training_loss(model), y, found)
    replaced = output_loss.replaced(lambda loss: losses.MeanSquaredError(), y, found)
    points = [np.asarray(point) for point in replaced.points(found)]
    expected = 2.0 * np.mean((points[0] - 1) ** 2) + 0.5 * np.mean(points[1] ** 2)
    np.testing.assert_allclose(replaced(y, found, points), expected, rtol=1e-6)
    assert [type(loss).__name__ for loss in output_loss.losses] != ["MeanSquaredError"] * 2
