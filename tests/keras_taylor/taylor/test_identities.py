"""Tests of what defines a Taylor loss: training at the weights, convexity, linearity, bounds."""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt
from keras_taylor.weights.scopes import Scopes

pytestmark = [
    pytest.mark.filterwarnings("ignore:The structure of"),
    pytest.mark.usefixtures("float64"),
]


def _prepared(name, loss="squared", **options):
    case = cases.make(name, loss, **options)
    return (*case.arguments, case.reference)


def _training_loss(model, x, y):
    """Returns loss and gradients of a training step, by Keras alone."""
    state = [v.value for v in model.non_trainable_variables]
    weights = [v.value for v in model.trainable_variables]
    x = tf.constant(x, model.inputs[0].dtype)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        outputs, _, penalties = model.stateless_call(
            [tf.convert_to_tensor(w) for w in weights], state, x, training=True, return_losses=True
        )
        loss = model._compile_loss(tf.constant(y), outputs) + sum(penalties)
    return loss, tape.gradient(loss, weights)


@pytest.mark.parametrize("name", cases.MODELS)
class TestIdentities:
    """The identities that define a Taylor loss, for each model of the table."""

    def _prepared(self, name):
        return _prepared(name, "categorical")

    def test_value_and_gradient_at_the_weights_are_those_of_training(self, name):
        model, x, y, _, _ = self._prepared(name)
        weights = [v.numpy() for v in model.trainable_variables]
        loss, gradients = _training_loss(model, x, y)
        value, found = kt.taylor_loss_and_gradient(model, x, y, weights)
        np.testing.assert_allclose(value, loss, rtol=1e-10)
        for one, other in zip(found, gradients, strict=True):
            np.testing.assert_allclose(one, tf.convert_to_tensor(other), rtol=1e-8, atol=1e-12)

    def test_convex_in_the_comparator(self, name):
        model, x, y, v, _ = self._prepared(name)
        u = cases.comparator(model, seed=5, distance=1.0)
        at_u, at_v = kt.taylor_loss(model, x, y, u), kt.taylor_loss(model, x, y, v)
        for t in (0.25, 0.5, 0.75):
            between = [(1 - t) * a + t * b for a, b in zip(u, v, strict=True)]
            assert kt.taylor_loss(model, x, y, between) <= (1 - t) * at_u + t * at_v + 1e-12

    def test_last_dense_layer_is_linear(self, name):
        model, x, y, v, _ = self._prepared(name)
        last = model.trainable_variables[-1].path.rpartition("/")[0]
        found = kt.taylor_loss(model, x, y, v, f"layer:{last}")
        for variable, value in zip(model.trainable_variables, v, strict=True):
            if variable.path.rpartition("/")[0] == last:
                variable.assign(value)
        np.testing.assert_allclose(found, _training_loss(model, x, y)[0], rtol=1e-10)

    def test_linear_regret_bounds_taylor_regret(self, name):
        model, x, y, v, _ = self._prepared(name)
        loss, gradients = _training_loss(model, x, y)
        regret = loss - kt.taylor_loss(model, x, y, v)
        bound = sum(
            np.vdot(tf.convert_to_tensor(g), w.numpy() - c)
            for g, w, c in zip(gradients, model.trainable_variables, v, strict=True)
        )
        assert regret <= bound + 1e-12


def test_network_moves_by_the_sum_of_layers_and_these_by_their_units():
    """For a linear loss of the output, additivity shows in the losses."""
    model, x, y, v, _ = _prepared("convnet")

    class Linear(keras.losses.Loss):
        convex_in_output = True

        def call(self, y_true, y_pred):
            return keras.ops.sum(y_true * y_pred, axis=-1)

    loss = Linear(dtype="float64")
    weights = [w.numpy() for w in model.trainable_variables]
    start = float(kt.taylor_loss(model, x, y, weights, loss=loss))
    network = float(kt.taylor_loss(model, x, y, v, loss=loss)) - start
    layers = kt.taylor_loss(model, x, y, v, "layers", loss=loss)
    assert sum(float(value) - start for value in layers.values()) == pytest.approx(network)
    for layer, values in kt.taylor_loss(model, x, y, v, "units", loss=loss).items():
        assert sum(map(float, values - start)) == pytest.approx(float(layers[layer]) - start)


def test_euler_identity_of_a_rectifier_network_without_biases():
    model, x, y, _, reference = _prepared("convnet")
    weights = [w.numpy() for w in model.trainable_variables]
    for index, layer in enumerate(Scopes(model.trainable_variables).layers):
        for factor in (0.0, 2.0):
            v = [w * factor if i == index else w for i, w in enumerate(weights)]
            expected = ((y - factor * reference.outputs) ** 2).mean()
            np.testing.assert_allclose(
                kt.taylor_loss(model, x, y, v, f"layer:{layer}"), expected, rtol=1e-10
            )


def test_identities_with_two_outputs():
    inputs = keras.Input((5,))
    hidden = keras.layers.Dense(6, "relu", name="hidden")(inputs)
    outputs = [
        keras.layers.Dense(3, "softmax", name="a")(hidden),
        keras.layers.Dense(2, name="b")(hidden),
    ]
    model = keras.Model(inputs, outputs)
    model.compile(loss=["categorical_crossentropy", "mse"], loss_weights=[2.0, 0.5])
    generator = np.random.default_rng(0)
    x, v = generator.normal(size=(4, 5)), cases.comparator(model)
    y = [np.eye(3)[[0, 1, 2, 0]], generator.normal(size=(4, 2))]
    weights = [w.numpy() for w in model.trainable_variables]
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_weights)
    value, found = kt.taylor_loss_and_gradient(model, x, y, weights)
    np.testing.assert_allclose(value, loss, rtol=1e-10)
    for one, other in zip(found, gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-12)
    at_v, u = kt.taylor_loss(model, x, y, v), cases.comparator(model, seed=5)
    between = [(a + b) / 2 for a, b in zip(u, v, strict=True)]
    assert kt.taylor_loss(model, x, y, between) <= (at_v + kt.taylor_loss(model, x, y, u)) / 2
    moves = zip(gradients, weights, v, strict=True)
    assert loss - at_v <= sum(np.vdot(g, w - c) for g, w, c in moves)
    last = [*weights[:2], *v[2:4], *weights[4:]]
    linear = kt.taylor_loss(model, x, y, v, "layer:a")
    for variable, array in zip(model.trainable_variables, last, strict=True):
        variable.assign(array)
    expected = model.compute_loss(x=x, y=y, y_pred=model(x, training=True))
    np.testing.assert_allclose(linear, expected, rtol=1e-10)


def test_penalties_are_expanded():
    inputs = keras.Input((5,))
    hidden = keras.layers.Dense(4, "tanh", kernel_regularizer=keras.regularizers.L2(0.3))(inputs)
    # L1 of Keras 3.12 is float32, whatever the layer.
    outputs = keras.layers.Dense(3, activity_regularizer=keras.regularizers.L1L2(0.1))(hidden)
    model = keras.Model(inputs, outputs)
    model.compile(loss="mse")
    x, y = cases.data(model)
    v = cases.comparator(model)
    loss, gradients = _training_loss(model, x, y)
    weights = [w.numpy() for w in model.trainable_variables]
    value, found = kt.taylor_loss_and_gradient(model, x, y, weights)
    np.testing.assert_allclose(value, loss, rtol=1e-10)
    for one, other in zip(found, gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8)
    at_weights = _penalty_and_gradient(x, *weights)
    reference = cases.Reference(model, x, cases.LOSSES["squared"][1])
    keys = [w.path.rpartition("/")[0] for w in model.trainable_variables]
    expected = reference.loss(y, v) + _moved_penalty(*at_weights, weights, v)
    np.testing.assert_allclose(kt.taylor_loss(model, x, y, v), expected, rtol=1e-7)
    for layer, values in kt.taylor_loss(model, x, y, v, "units").items():
        for unit, value in enumerate(values):

            def keep(index, move, layer=layer, unit=unit):
                return move * (np.arange(move.shape[-1]) == unit) * (keys[index] == layer)

            at = [w + keep(i, a - w) for i, (a, w) in enumerate(zip(v, weights, strict=True))]
            expected = reference.loss(y, v, keep) + _moved_penalty(*at_weights, weights, at)
            np.testing.assert_allclose(value, expected, rtol=1e-7)


def _penalty_and_gradient(x, kernel, bias, last, last_bias):
    """Returns `0.3 sum kernel^2 + 0.1 sum |f| / divisor`, and its gradient, in NumPy."""
    hidden = np.tanh(x @ kernel + bias)
    sign = np.sign(hidden @ last + last_bias) * 0.1 / cases.activity_divisor(len(x))
    inner = (sign @ last.T) * (1 - hidden**2)
    value = 0.3 * np.sum(kernel**2) + np.sum(sign * (hidden @ last + last_bias))
    gradient = [0.6 * kernel + x.T @ inner, inner.sum(0), hidden.T @ sign, sign.sum(0)]
    return value, gradient


def _moved_penalty(value, gradient, weights, comparator):
    moves = zip(gradient, weights, comparator, strict=True)
    return value + sum(np.vdot(g, v - w) for g, w, v in moves)
