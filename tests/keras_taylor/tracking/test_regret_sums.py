"""Tests of the sums over rounds, against NumPy on made-up rounds."""

import itertools

import keras
import numpy as np
import pytest

from keras_taylor.tracking.regret_sums import RegretSums
from keras_taylor.weights.scope_names import SCOPES
from keras_taylor.weights.scopes import Scopes

SHAPES = [(3, 4), (4,), (4, 2), (2,)]


@pytest.fixture
def made():
    """Scopes, sums, and weights and gradients of some rounds in float64."""
    layers = [keras.layers.Dense(4, name="a"), keras.layers.Dense(2, name="b")]
    model = keras.Sequential([keras.Input((3,)), *layers], name="net")
    scopes, names = Scopes(model.trainable_variables), []

    def add_variable(shape, name, dtype):
        names.append(name)
        return keras.Variable(np.zeros(shape), dtype=dtype)

    sums = RegretSums(add_variable, scopes, "float32", track_snr=True, track_updates=True)
    generator = np.random.default_rng(0)
    rounds = [[[generator.normal(size=s) for s in SHAPES] for _ in range(2)] for _ in range(5)]
    return scopes, sums, rounds, names


def _add(scopes, sums, rounds):
    sums.set_first_weights(scopes.matrices([w.astype("float32") for w in rounds[0][0]]))
    for number, (weights, gradients) in enumerate(rounds, start=1):
        pair = [
            scopes.matrices([a.astype("float32") for a in arrays])
            for arrays in (gradients, weights)
        ]
        sums.add(pair[0], sums.terms(*pair), number)


def _flat(arrays):
    return np.concatenate([np.ravel(array) for array in arrays])


def test_regret_and_distances_of_the_network(made):
    scopes, sums, rounds, _ = made
    _add(scopes, sums, rounds)
    first = _flat(rounds[0][0])
    distance = max(np.linalg.norm(_flat(w) - first) for w, _ in rounds)
    inner = sum(np.vdot(_flat(g), _flat(w) - first) for w, g in rounds)
    total = sum(_flat(g) for _, g in rounds)
    np.testing.assert_allclose(sums.distances("network"), distance, rtol=1e-6)
    for radius in (None, 0.7):
        expected = inner + (radius or distance) * np.linalg.norm(total)
        np.testing.assert_allclose(sums.linear_regret("network", radius), expected, rtol=1e-5)
    comparator = [np.full(shape, 0.3) for shape in SHAPES]
    expected = inner - np.vdot(total, 0.3 - first)
    np.testing.assert_allclose(
        sums.linear_regret_against("network", comparator), expected, rtol=1e-5
    )


@pytest.mark.parametrize("radius", [None, 0.7])
def test_guarantee_of_units_and_layers(made, radius):
    scopes, sums, rounds, _ = made
    _add(scopes, sums, rounds)
    squares = sum(np.square(g[0]).sum(0) + np.square(g[1]) for _, g in rounds)
    first = rounds[0][0]
    moved = np.max(
        [np.square(w[0] - first[0]).sum(0) + np.square(w[1] - first[1]) for w, _ in rounds],
        axis=0,
    )
    expected = (radius or np.sqrt(moved)) * np.sqrt(squares)
    np.testing.assert_allclose(sums.guarantee("units", radius)[:4], expected, rtol=1e-5)
    distance = radius or max(np.linalg.norm(_flat(w[:2]) - _flat(first[:2])) for w, _ in rounds)
    expected = distance * np.sqrt(squares.sum())
    np.testing.assert_allclose(sums.guarantee("layers", radius)[0], expected, rtol=1e-5)


def test_updates_are_summed(made):
    scopes, sums, rounds, _ = made
    for (before, gradients), (after, _) in itertools.pairwise(rounds):
        matrices = [
            scopes.matrices([a.astype("float32") for a in each])
            for each in (gradients, before, after)
        ]
        sums.add_updates(*matrices, is_finite=True)
    kernels, biases = (np.array([weights[i] for weights, _ in rounds]) for i in (2, 3))
    expected = np.square(np.diff(kernels, axis=0)).sum((0, 1)) + np.square(
        np.diff(biases, axis=0)
    ).sum(0)
    np.testing.assert_allclose(sums.squared_updates[4:], expected, rtol=1e-5)


def test_unknown_kind(made):
    with pytest.raises(ValueError, match="unknown kind 'layer:a': expected one of network"):
        made[1].distances("layer:a")


def test_shapes_of_each_kind(made):
    scopes, sums, rounds, _ = made
    _add(scopes, sums, rounds)
    for kind, shape in zip(SCOPES, ((), (2,), (6,)), strict=True):
        assert sums.linear_regret(kind).shape == sums.distances(kind).shape == shape


def test_order_of_variables_is_that_of_saved_optimizers(made):
    names = made[3]
    assert list(dict.fromkeys(names)) == [
        "first_weights",
        "gradient",
        "gradient_square",
        "update",
        "update_square",
        "unit_sum",
        "squared_distance",
        "first_skipped_step",
        "not_finite",
        "squared_update",
    ]


def test_zeroed_variables_are_all_but_the_first_weights(made):
    scopes, sums, rounds, names = made
    _add(scopes, sums, rounds)
    assert len(sums.variables()) == len(names) - names.count("first_weights")
    for variable in sums.variables():
        variable.assign(np.zeros(variable.shape))
    assert float(sums.linear_regret("network")) == 0.0
