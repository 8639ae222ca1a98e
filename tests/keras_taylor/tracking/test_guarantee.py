"""Tests of the guarantee and of relative regret."""

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.tracking.guarantee import guarantee, relative_regret
from keras_taylor.weights.scopes import Scopes


def test_relative_regret_of_nothing_is_not_a_number():
    found = relative_regret(np.array([2.0, 0.0, 3.0]), np.array([4.0, 0.0, 0.0]))
    np.testing.assert_array_equal(found, [0.5, np.nan, np.nan])


def test_parts_of_each_kind():
    layers = [keras.layers.Dense(2, name="a"), keras.layers.Dense(1, name="b")]
    scopes = Scopes(keras.Sequential([keras.Input((2,)), *layers]).trainable_variables)
    squares = np.array([9.0, 16.0, 144.0])
    np.testing.assert_allclose(guarantee(scopes, squares, 2.0, "units"), [6.0, 8.0, 24.0])
    np.testing.assert_allclose(guarantee(scopes, squares, np.array([1.0, 3.0]), "layers"), [5, 36])
    np.testing.assert_allclose(guarantee(scopes, squares, 2.0), 26.0)


@pytest.fixture(scope="module")
def descended():
    """A tracker around plain SGD in float64, with all weights and gradients of its rounds."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(0)
    rate, generator = 0.1, np.random.default_rng(0)
    layers = [keras.layers.Dense(5, "relu", name="a"), keras.layers.Dense(2, name="b")]
    model = keras.Sequential([keras.Input((3,)), *layers], name="net")
    tracker = kt.optimizers.RegretTracker(keras.optimizers.SGD(rate))
    model.compile(tracker, loss="mse")
    first = [w.copy() for w in model.get_weights()]
    for _ in range(20):
        model.train_on_batch(generator.normal(size=(8, 3)), generator.normal(size=(8, 2)))
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    return tracker, rate, first, model.get_weights()


def _squares(arrays):
    """Returns squared norms of the units of both layers, and of the layers and the network."""
    units = {
        "a": np.square(arrays[0]).sum(0) + np.square(arrays[1]),
        "b": np.square(arrays[2]).sum(0) + np.square(arrays[3]),
    }
    layers = {layer: values.sum() for layer, values in units.items()}
    return {"units": units, "layers": layers, "network": sum(layers.values())}


@pytest.mark.parametrize("scope", ["network", "layers", "units"])
def test_identity_of_plain_descent(descended, scope):
    """`sum <g, W - V> = (||W^1 - V||^2 - ||W^(N+1) - V||^2) / (2 eta) + (eta / 2) sum ||g||^2`."""
    tracker, rate, first, last = descended
    generator = np.random.default_rng(1)
    comparator = [w + generator.normal(size=w.shape) for w in first]
    near, far = (
        _squares([w - v for w, v in zip(weights, comparator, strict=True)])[scope]
        for weights in (first, last)
    )
    regret = tracker.linear_regret(scope, comparator)
    # With the radius travelled, the guarantee over the distance is the root of sum ||g||^2.
    root = keras.tree.map_structure(
        lambda bound, distance: bound / distance,
        tracker.guarantee(scope),
        tracker.distance_travelled(scope),
    )

    def agree(found, one, other, norm):
        expected = (one - other) / (2 * rate) + rate / 2 * np.square(norm)
        np.testing.assert_allclose(found, expected, rtol=1e-10)

    if scope == "network":
        agree(regret, near, far, root)
    for layer in () if scope == "network" else ("a", "b"):
        key = f"net/{layer}"
        agree(regret[key], near[layer], far[layer], root[key])


def test_regret_of_plain_descent_is_below_its_two_terms(descended):
    tracker, rate, _, _ = descended
    for scope in ("layers", "units"):
        for key, regret in tracker.linear_regret(scope).items():
            distance = np.asarray(tracker.distance_travelled(scope)[key])
            norm = np.asarray(tracker.guarantee(scope)[key]) / distance
            bound = distance**2 / (2 * rate) + rate / 2 * norm**2
            assert np.all(np.asarray(regret) <= bound * (1 + 1e-12))
