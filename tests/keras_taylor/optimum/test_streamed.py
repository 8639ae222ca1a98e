"""Tests of F by passes through the model, against Taylor losses of single rounds."""

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.optimum.rounds import Rounds
from keras_taylor.optimum.streamed import StreamedObjective
from keras_taylor.weights.parts import Part

STEPS = 21


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, "tanh", name="a"), keras.layers.Dense(2, name="b")]
    model = keras.Sequential([keras.Input((3,)), *layers], name="net")
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    generator = np.random.default_rng(0)
    shapes = (5, 3), (5, 2)
    batches = [tuple(generator.normal(size=s) for s in shapes) for _ in range(STEPS)]
    path = tmp_path_factory.mktemp("streamed") / "run"
    return kt.record(model, batches, path, steps=STEPS, verbose=0), model


@pytest.fixture(scope="module")
def objective(recorded):
    rounds = Rounds(*recorded)
    return StreamedObjective(rounds, Part(rounds.scopes, "layer:net/a"))


def test_value_gradient_and_losses_are_those_of_the_rounds(recorded, objective):
    trajectory, model = recorded
    first = next(iter(trajectory)).weights
    generator = np.random.default_rng(1)
    comparator = [w + 0.3 * generator.normal(size=w.shape) for w in first]
    comparator[2:] = first[2:]
    point = objective.part.vector(comparator)
    values, gradients = [], []
    for one in list(trajectory)[:4]:
        for variable, weight in zip(model.trainable_variables, one.weights, strict=True):
            variable.assign(weight)
        arguments = model, one.x, one.y, comparator, "layer:net/a"
        value, gradient = kt.taylor_loss_and_gradient(*arguments)
        values.append(float(value))
        gradients.append(objective.part.vector(gradient))
    over = objective.over_first(4)
    value, gradient = over.value_and_gradient(point)
    assert value == pytest.approx(np.mean(values), rel=1e-6)
    np.testing.assert_allclose(gradient, np.mean(gradients, axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(over.losses(point), values, rtol=1e-5)
    assert objective.horizon == STEPS, "an objective stays what it is"


def test_curvature_product_is_the_derivative_of_the_gradient(objective):
    """Exactly, for squared error, along a move of any length."""
    generator = np.random.default_rng(2)
    point, vector = generator.normal(size=(2, objective.part.size))
    over = objective.over_first(3)
    gradients = [over.value_and_gradient(p)[1] for p in (point + vector, point)]
    product = over.curvature_product(point, vector)
    np.testing.assert_allclose(product, gradients[0] - gradients[1], rtol=1e-3, atol=1e-5)


def test_a_preconditioner_is_made_again_for_many_more_rounds(objective):
    objective.over_first(5).prepare()
    made = objective.over_first(5).preconditioner
    assert made is not None
    assert objective.over_first(20).preconditioner is made
    assert objective.over_first(21).preconditioner is None
