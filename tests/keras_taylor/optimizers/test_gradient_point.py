"""Tests of gradients that are taken elsewhere than at the weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt

RHO, STEPS = 0.5, 8


def _model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, "tanh", name="a")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="b")(hidden))
    model.compile(kt.optimizers.RegretTracker(keras.optimizers.SGD(0.1)), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def _sharpness_aware_step(model, x, y):
    """A step by the gradient at W + e; returns that gradient, that point, and the loss there."""
    tracker, variables = model.optimizer, model.trainable_variables
    loss_of = keras.losses.MeanSquaredError()
    with tf.GradientTape() as tape:
        loss = loss_of(y, model(x, training=True))
    gradients = tape.gradient(loss, [v.value for v in variables])
    norm = tf.linalg.global_norm(gradients)
    moves = [RHO * g / norm for g in gradients]
    for variable, move in zip(variables, moves, strict=True):
        variable.assign_add(move)
    # Variables, which go back to the weights before the update.
    points = [tf.identity(v.value) for v in variables]
    tracker.gradient_point(variables)
    with tf.GradientTape() as tape:
        loss = tracker.scale_loss(loss_of(y, model(x, training=True)))
    gradients = tape.gradient(loss, [v.value for v in variables])
    for variable, move in zip(variables, moves, strict=True):
        variable.assign_sub(move)
    tracker.apply(gradients, variables)
    return gradients, points, loss


@pytest.mark.parametrize("traced", [False, True])
def test_sums_are_about_the_point_of_the_gradient(traced):
    model, generator = _model(), np.random.default_rng(0)
    step = tf.function(_sharpness_aware_step) if traced else _sharpness_aware_step
    first = [variable.numpy() for variable in model.trainable_variables]
    inner, total, distance, losses = 0.0, 0.0, 0.0, []
    for _ in range(STEPS):
        x, y = (tf.constant(generator.normal(size=(5, n)), "float32") for n in (3, 2))
        gradients, points, loss = step(model, x, y)
        flat = np.concatenate([np.ravel(g) for g in gradients]).astype("float64")
        moves = np.concatenate([np.ravel(p - f) for p, f in zip(points, first, strict=True)])
        inner, total = inner + flat @ moves, total + flat
        distance = max(distance, np.linalg.norm(moves))
        losses.append(float(loss))
    tracker, regret = model.optimizer, inner + distance * np.linalg.norm(total)
    np.testing.assert_allclose(tracker.linear_regret(), regret, rtol=1e-5)
    bound = np.mean(losses) - regret / STEPS
    np.testing.assert_allclose(tracker.optimum_lower_bound(), bound, rtol=1e-4, atol=1e-6)


def test_the_bound_holds_for_gradients_taken_elsewhere():
    """For `L(v) = v^2`, of which the first weights have 0.01, at points half a unit away."""
    weight = keras.Variable([0.1], name="w")
    trackers = [kt.optimizers.RegretTracker(keras.optimizers.SGD(1e-3)) for _ in range(2)]
    for tracker, is_told in zip(trackers, (False, True), strict=True):
        weight.assign([0.1])
        tracker.build([weight])
        for _ in range(20):
            point = weight.numpy() + 0.5
            tracker.scale_loss(np.sum(point**2))
            if is_told:
                tracker.gradient_point([point])
            tracker.apply([2 * point], [weight])
    untold, told = (float(tracker.optimum_lower_bound()) for tracker in trackers)
    assert untold > 0.01 >= told


def test_the_point_is_that_of_one_round():
    model = _model()
    tracker, variables = model.optimizer, model.trainable_variables
    gradients = [np.ones(v.shape, "float32") for v in variables]
    tracker.gradient_point([v.numpy() + 1.0 for v in variables])
    tracker.apply(gradients, variables)
    size = sum(g.size for g in gradients)
    np.testing.assert_allclose(tracker.linear_regret(), 2 * size, rtol=1e-6)
    first = [v.numpy() + 0.1 for v in variables]
    tracker.apply(gradients, variables)
    moved = sum(np.sum(v.numpy() - f + 0.1) for v, f in zip(variables, first, strict=True))
    assert float(tracker.linear_regret()) < size + abs(moved) + np.sqrt(size) * 2 * np.sqrt(size)


def test_a_point_of_another_shape_is_refused():
    model = _model()
    with pytest.raises(ValueError, match="a tensor for each variable, of shapes"):
        model.optimizer.gradient_point([np.zeros((3, 4))])
