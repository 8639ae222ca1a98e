"""Tests of the model of the curvature: exact where it can be, and fewer passes."""

import keras
import numpy as np
import pytest
from objectives import solve_part

import keras_taylor as kt
from keras_taylor.optimum import preconditioner, solver
from keras_taylor.optimum.rounds import Rounds
from keras_taylor.weights.parts import Part
from keras_taylor.weights.scopes import Scopes

GENERATOR = np.random.default_rng(0)


def _model(outputs=3, activation=None, loss="mse"):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(5, "relu", name="hidden")(inputs)
    hidden = keras.layers.LayerNormalization(name="normal")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(outputs, activation, name="last")(hidden))
    model.compile(keras.optimizers.Adam(0.02), loss=loss)
    return model


def _positive(size):
    half = GENERATOR.normal(size=(size, size))
    return half @ half.T


def _known(factors, part):
    """The preconditioner of a curvature that is the Kronecker product of known factors."""
    sums = [(a * np.trace(b), b * np.trace(a), np.trace(a) * np.trace(b)) for a, b in factors]
    return preconditioner.Kronecker(part, [one for three in sums for one in map(np.asarray, three)])


def test_weights_of_a_layer_are_one_matrix():
    scopes = Scopes(_model().trainable_variables)
    part = Part(scopes, "network")
    assert preconditioner.groups(part) == [(0, 1), (2, 3), (4, 5)]
    assert preconditioner.groups(Part(scopes, "unit:last/1")) == [(4, 5)]
    arrays = [GENERATOR.normal(size=shape) for shape in scopes.shapes]
    hidden, normal, last = preconditioner.stacked(part, arrays)
    np.testing.assert_array_equal(hidden, np.vstack([arrays[0], arrays[1]]))
    assert [tuple(matrix.shape) for matrix in (hidden, normal, last)] == [(5, 5), (2, 5), (6, 3)]


@pytest.mark.parametrize("name", ["network", "layer:last"])
def test_known_factors_are_inverted(name):
    scopes = Scopes(_model().trainable_variables)
    part, whole = Part(scopes, name), Part(scopes, "network")
    sides = [(5, 5), (2, 5), (6, 3)]
    factors = [tuple(map(_positive, pair)) for pair in sides]
    wanted = [GENERATOR.normal(size=shape) for shape in scopes.shapes]
    solution = part.vector(wanted)
    image = []
    for (a, b), (rows, _), matrix in zip(
        factors, sides, preconditioner.stacked(whole, wanted), strict=True
    ):
        matrix = np.asarray(matrix)
        product = a @ matrix @ b + 0.3 * matrix
        image += [product[: rows - 1], product[rows - 1 :]]
    image = [array.reshape(shape) for array, shape in zip(image, scopes.shapes, strict=True)]
    factors = factors if part.layer is None else factors[2:]
    found = _known(factors, part)(part.vector(image), 0.3)
    np.testing.assert_allclose(found, solution, rtol=1e-6)


def test_a_long_side_counts_as_curved_alike(monkeypatch):
    monkeypatch.setattr(preconditioner, "LONGEST_SIDE", 5)
    scopes = Scopes(_model().trainable_variables)
    part = Part(scopes, "layer:last")
    arrays = [GENERATOR.normal(size=shape) for shape in scopes.shapes]
    outer, inner, square = preconditioner.products(part, arrays)
    matrix = np.vstack([arrays[4], arrays[5]])
    assert outer.shape == preconditioner.zeros(part)[0].shape == (0, 0)
    np.testing.assert_allclose(inner, matrix.T @ matrix)
    np.testing.assert_allclose(square, np.sum(matrix**2))
    sums = [np.zeros((0, 0)), inner.numpy(), square.numpy()]
    residual = GENERATOR.normal(size=18)
    found = preconditioner.Kronecker(part, sums)(residual, 0.5)
    expected = np.linalg.solve(inner.numpy() / 6 + 0.5 * np.eye(3), residual.reshape(6, 3).T).T
    np.testing.assert_allclose(found, expected.ravel(), rtol=1e-6)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """An autoencoder of inputs that vary much more in some directions than in others."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((20,))
    hidden = keras.layers.Dense(8, "relu", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(20, name="last")(hidden))
    model.compile(keras.optimizers.Adam(0.01), loss="mse")
    x = GENERATOR.normal(size=(30, 16, 20)) * np.geomspace(3, 0.03, 20)
    path = tmp_path_factory.mktemp("preconditioner") / "run"
    return kt.record(model, [(a, a) for a in x], path, steps=30, verbose=0), model


def test_it_takes_fewer_passes_to_the_same_optimum(recorded, monkeypatch):
    options = {"radius": 20.0, "max_passes": 40, "verbose": 0}
    prepared = kt.taylor_optimum(*recorded, **options)
    monkeypatch.setattr(solver, "FEWEST_PASSES", 1000)
    plain = kt.taylor_optimum(*recorded, **options)
    assert prepared.converged
    assert not plain.converged
    assert prepared.gap < 0.5 * plain.gap
    assert prepared.lower_bound <= plain.value
    assert plain.lower_bound <= prepared.value


def test_short_solves_do_without(recorded):
    rounds = Rounds(*recorded)
    (found,), objective = solve_part(rounds, "network", [None], 0.5)
    assert found.passes <= solver.FEWEST_PASSES
    assert objective.problem(0).preconditioner is None
    _, objective = solve_part(rounds, "network", [20.0], 0.1)
    assert objective.problem(0).preconditioner is not None
    objective.horizon = 5
    assert objective.problem(0).preconditioner is not None


@pytest.mark.slow
def test_more_passes_are_never_worse(recorded):
    """Also around the pass that makes it, which has to leave one to use it in."""
    rounds, values = Rounds(*recorded), []
    for most in range(1, solver.FEWEST_PASSES + 6):
        (found,), _ = solve_part(rounds, "network", [20.0], 0.01, most)
        assert found.passes <= most
        assert not found.converged
        assert found.lower_bound < found.value < np.inf
        values.append(found.value)
    assert values == sorted(values, reverse=True)
