"""Tests of the pure sums and bounds, against NumPy on made-up runs."""

import keras
import numpy as np
import pytest

from keras_taylor.tracking import linear_regret as bounds
from keras_taylor.weights.scopes import Scopes

ROUNDS = 7


@pytest.fixture
def run():
    """Scopes, and weights and gradients of some rounds, each a list of float64 arrays."""
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, name="a"), keras.layers.Dense(2, name="b")]
    )
    generator = np.random.default_rng(1)
    shapes = [tuple(v.shape) for v in model.trainable_variables]
    weights, gradients = (
        [[generator.normal(size=shape) for shape in shapes] for _ in range(ROUNDS)]
        for _ in range(2)
    )
    return Scopes(model.trainable_variables), weights, gradients


def _sums(scopes, weights, gradients):
    products = sum(
        bounds.unit_inner_products(
            scopes,
            scopes.matrices(gradient),
            scopes.matrices([w - first for w, first in zip(weight, weights[0], strict=True)]),
        )
        for weight, gradient in zip(weights, gradients, strict=True)
    )
    total = [sum(parts) for parts in zip(*gradients, strict=True)]
    return products, scopes.matrices(total), total


def test_linear_regret_of_the_network(run):
    scopes, weights, gradients = run
    products, matrices, total = _sums(*run)
    inner = sum(
        np.vdot(g, w - first)
        for weight, gradient in zip(weights, gradients, strict=True)
        for g, w, first in zip(gradient, weight, weights[0], strict=True)
    )
    norm = np.sqrt(sum(np.sum(g**2) for g in total))
    value = bounds.linear_regret(scopes, products, matrices, radius=3.0)
    np.testing.assert_allclose(value, inner + 3.0 * norm, rtol=1e-12)


def test_worst_comparator_attains_the_bound_and_no_other_in_the_ball_exceeds_it(run):
    scopes, _, gradients = run
    products, matrices, total = _sums(*run)
    worst = bounds.linear_regret(scopes, products, matrices, radius=2.0)
    norm = np.sqrt(sum(np.sum(g**2) for g in total))
    attained = bounds.linear_regret_against(
        scopes, products, matrices, scopes.matrices([-2.0 * g / norm for g in total])
    )
    np.testing.assert_allclose(attained, worst, rtol=1e-12)
    generator = np.random.default_rng(2)
    for _ in range(20):
        direction = [generator.normal(size=g.shape) for g in gradients[0]]
        length = np.sqrt(sum(np.sum(d**2) for d in direction))
        inside = scopes.matrices([2.0 * d / length for d in direction])
        assert bounds.linear_regret_against(scopes, products, matrices, inside) <= worst


def test_layers_and_units_are_those_of_their_own_weights(run):
    scopes, weights, gradients = run
    products, matrices, total = _sums(*run)
    by_layer = bounds.linear_regret(scopes, products, matrices, 3.0, "layers")
    by_unit = bounds.linear_regret(scopes, products, matrices, 3.0, "units")
    inner = sum(
        np.vdot(gradients[n][i], weights[n][i] - weights[0][i])
        for n in range(ROUNDS)
        for i in (2, 3)
    )
    norm = np.sqrt(np.sum(total[2] ** 2) + np.sum(total[3] ** 2))
    np.testing.assert_allclose(by_layer[1], inner + 3.0 * norm, rtol=1e-12)
    unit = sum(
        gradients[n][2][:, 1] @ (weights[n][2] - weights[0][2])[:, 1]
        + gradients[n][3][1] * (weights[n][3] - weights[0][3])[1]
        for n in range(ROUNDS)
    )
    norm = np.sqrt(np.sum(total[2][:, 1] ** 2) + total[3][1] ** 2)
    np.testing.assert_allclose(by_unit[5], unit + 3.0 * norm, rtol=1e-12)


def test_no_rounds_have_no_average():
    assert np.isnan(bounds.average(np.float64(0.0), 0))
    assert float(bounds.average(np.float64(6.0), 3)) == 2.0
    assert float(bounds.optimum_lower_bound(5.0, np.float64(6.0), 3)) == 3.0


def test_bound_holds_for_a_convex_loss():
    """Identity 7 on a linear model, where the Taylor loss is the loss itself."""
    generator = np.random.default_rng(3)
    weights = generator.normal(size=(ROUNDS, 3, 1))
    comparator = generator.normal(size=(3, 1))
    x, y = generator.normal(size=(ROUNDS, 5, 3)), generator.normal(size=(ROUNDS, 5, 1))
    regret, bound = 0.0, 0.0
    for n in range(ROUNDS):
        error = x[n] @ weights[n] - y[n]
        gradient = 2 * x[n].T @ error / 5
        regret += np.mean(error**2) - np.mean((x[n] @ comparator - y[n]) ** 2)
        bound += np.vdot(gradient, weights[n] - comparator)
    assert regret <= bound
