"""Tests of what is collected of a dense layer: inputs, pre-activations, outputs and Jacobian."""

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.optimum import chunks, dense, dense_features
from keras_taylor.optimum.rounds import Rounds
from keras_taylor.weights.parts import Part

ROUNDS, BATCH, LAYER = 7, 6, "layer:first"


def _recorded(path, outputs=3, loss="mse", sizes=(BATCH,) * ROUNDS, **options):
    """Rounds of a network of two dense layers, and its trajectory."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    hidden = keras.layers.Dense(4, "tanh", name="first")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(outputs, name="last")(hidden))
    model.compile(keras.optimizers.SGD(0.1), loss=loss)
    generator = np.random.default_rng(0)
    batches = [(generator.normal(size=(n, 5)), generator.normal(size=(n, outputs))) for n in sizes]
    trajectory = kt.record(model, batches, path / "run", steps=len(sizes), verbose=0, **options)
    return Rounds(trajectory, model), trajectory


def _by_numpy(trajectory):
    """Inputs with a one, pre-activations, outputs and their Jacobian of all examples."""
    parts = []
    for round in trajectory:
        kernel, bias, last, last_bias = (weight.astype("float64") for weight in round.weights)
        before = round.x @ kernel + bias
        hidden = np.tanh(before)
        jacobian = (1 - hidden**2)[:, None, :] * last.T
        inputs = np.concatenate([round.x, np.ones((len(round.x), 1))], 1)
        parts.append((inputs, before, hidden @ last + last_bias, jacobian, round.y))
    return [np.concatenate(one) for one in zip(*parts, strict=True)]


def _one(features):
    (chunk,) = features.chunks
    return {name: tensor.numpy() for name, tensor in chunk.items()}


@pytest.mark.usefixtures("float64")
def test_features_are_inputs_pre_activations_outputs_and_their_jacobian(tmp_path):
    rounds, trajectory = _recorded(tmp_path)
    found = _one(dense_features.collect(rounds, "first"))
    inputs, before, points, jacobian, y = _by_numpy(trajectory)
    assert set(found) == {"inputs", "before", "points", "y", "jacobian"}
    for name, expected in (
        ("inputs", inputs),
        ("before", before),
        ("points", points),
        ("jacobian", jacobian),
        ("y", y),
    ):
        np.testing.assert_allclose(found[name], expected, rtol=1e-10, atol=1e-12, err_msg=name)
    last = _one(dense_features.collect(rounds, "last"))
    assert "jacobian" not in last, "its pre-activations are the outputs"
    np.testing.assert_array_equal(last["before"], last["points"])


@pytest.mark.usefixtures("float64")
def test_a_quadratic_loss_of_many_outputs_is_expanded(tmp_path):
    """`D' dl/df` and `D' H D` of a mean over examples and outputs, H being `2 / (examples p)`."""
    rounds, trajectory = _recorded(tmp_path, outputs=9)
    features = dense_features.collect(rounds, "first")
    found = _one(features)
    _, _, points, jacobian, y = _by_numpy(trajectory)
    factor = 2 / BATCH / 9
    linear = np.einsum("epu,ep->eu", jacobian, points - y) * factor
    curvature = np.einsum("epu,epv->euv", jacobian, jacobian) * factor
    by_round = np.mean((points - y) ** 2, axis=1).reshape(ROUNDS, BATCH).mean(axis=1)
    assert "jacobian" not in found
    np.testing.assert_allclose(found["linear"], linear, atol=1e-12)
    np.testing.assert_allclose(found["curvature"], curvature, atol=1e-12)
    np.testing.assert_allclose(found["loss"], np.repeat(by_round, BATCH) / BATCH, rtol=1e-10)
    unit = _one(features.of_unit(2))
    np.testing.assert_array_equal(unit["before"], found["before"][:, 2:3])
    np.testing.assert_array_equal(unit["linear"], found["linear"][:, 2:3])
    np.testing.assert_array_equal(unit["curvature"], found["curvature"][:, 2:3, 2:3])


@pytest.mark.usefixtures("float64")
def test_chunks_change_nothing(tmp_path, monkeypatch):
    rounds, _ = _recorded(tmp_path)
    part = Part(rounds.scopes, LAYER)
    first = part.vector(rounds.first)
    whole = dense.dense_objective(rounds, part)
    rounds.remember(None, "nothing", lambda: None)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 3000)
    cut = dense.dense_objective(rounds, part)
    assert len(cut._features.chunks) > 2 > len(whole._features.chunks)
    for horizon in range(1, ROUNDS + 1):
        found, expected = (each.over_first(horizon) for each in (cut, whole))
        np.testing.assert_allclose(
            found.value_and_gradient(first)[1], expected.value_and_gradient(first)[1], atol=1e-12
        )


def test_features_that_would_be_too_large_are_not_kept(tmp_path, monkeypatch):
    rounds, _ = _recorded(tmp_path)
    monkeypatch.setattr(dense_features, "KEPT_BYTES", 1000)
    assert dense_features.collect(rounds, "first") is None


def test_batches_of_different_sizes_have_no_features(tmp_path):
    rounds, _ = _recorded(tmp_path, sizes=(4, 4, 3))
    assert dense_features.collect(rounds, "first") is None
