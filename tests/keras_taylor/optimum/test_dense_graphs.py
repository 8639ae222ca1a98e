"""Tests of F and its derivatives on features, against sums over examples in NumPy."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_taylor.optimum.dense_graphs import DenseGraphs
from keras_taylor.taylor.outputs import OutputLoss

ROUNDS, BATCH, INPUTS, UNITS, OUTPUTS = 3, 4, 3, 2, 5
EXAMPLES = ROUNDS * BATCH


def _graphs(reduction="sum_over_batch_size"):
    """Graphs of a squared error, of rounds that know nothing but their loss."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(OUTPUTS)])
    model.compile(loss=keras.losses.MeanSquaredError(reduction=reduction))
    compiled = model._compile_loss
    y = tf.zeros((BATCH, OUTPUTS), "float64")
    compiled.build(y, y)
    rounds = types.SimpleNamespace(
        replaced_loss=lambda wide: compiled, from_logits=False, loss=OutputLoss(compiled)
    )
    return DenseGraphs(rounds, BATCH)


@pytest.fixture
def draw():
    generator = np.random.default_rng(0)
    return lambda *shape: generator.normal(size=shape)


@pytest.fixture
def features(draw, float64):
    """Features with a Jacobian, under other weights of the examples and of their rounds."""
    return {
        "inputs": draw(EXAMPLES, INPUTS),
        "before": draw(EXAMPLES, UNITS),
        "points": draw(EXAMPLES, OUTPUTS),
        "y": draw(EXAMPLES, OUTPUTS),
        "jacobian": draw(EXAMPLES, OUTPUTS, UNITS),
        "sample_weight": np.abs(draw(EXAMPLES)),
        "weight": np.repeat([1.0, 2.0, 5.0], BATCH),
    }


def _by_example(v, features):
    """The squared error of each example with its outputs moved along its Jacobian, weighted."""
    moved = features["inputs"] @ v - features["before"]
    outputs = features["points"] + np.einsum("epu,eu->ep", features["jacobian"], moved)
    losses = np.mean((outputs - features["y"]) ** 2, axis=1)
    return losses * features.get("sample_weight", 1.0) * features.get("weight", 1.0)


def _tensors(features):
    return {name: tf.constant(array) for name, array in features.items()}


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_value_is_the_sum_over_rounds_of_the_loss_of_moved_outputs(features, draw, reduction):
    v = draw(INPUTS, UNITS)
    expected = _by_example(v, features).sum() / (1 if reduction == "sum" else BATCH)
    value, gradient = _graphs(reduction).value(tf.constant(v), _tensors(features))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    step, scale = 1e-6, 1 if reduction == "sum" else BATCH
    for place in np.ndindex(INPUTS, UNITS):
        ahead, behind = v.copy(), v.copy()
        ahead[place] += step
        behind[place] -= step
        slope = (_by_example(ahead, features) - _by_example(behind, features)).sum() / 2 / step
        np.testing.assert_allclose(gradient[place], slope / scale, rtol=1e-6)


def test_curvature_product_is_the_change_of_the_gradient(features, draw):
    """The loss is quadratic, so a step of any length shows it."""
    graphs, chunk = _graphs(), _tensors(features)
    v, p = (tf.constant(draw(INPUTS, UNITS)) for _ in range(2))
    expected = graphs.value(v + p, chunk)[1] - graphs.value(v, chunk)[1]
    np.testing.assert_allclose(graphs.curvature_product(v, p, chunk), expected, rtol=1e-10)


def test_losses_are_those_of_each_round_whatever_it_stands_for(features, draw):
    v = draw(INPUTS, UNITS)
    by_example = _by_example(v, {k: x for k, x in features.items() if k != "weight"})
    found = _graphs().losses(tf.constant(v), _tensors(features))
    np.testing.assert_allclose(found, by_example.reshape(ROUNDS, BATCH).mean(axis=1), rtol=1e-12)


def test_an_expansion_stands_for_outputs_and_jacobian(draw, float64):
    """`loss + <linear, m> + <m, curvature m> / 2` of the move m, summed over examples."""
    half = draw(EXAMPLES, UNITS, UNITS)
    features = {
        "inputs": draw(EXAMPLES, INPUTS),
        "before": draw(EXAMPLES, UNITS),
        "loss": draw(EXAMPLES),
        "linear": draw(EXAMPLES, UNITS),
        "curvature": half + half.swapaxes(1, 2),
    }
    v = draw(INPUTS, UNITS)
    moved = features["inputs"] @ v - features["before"]
    by_example = features["loss"] + np.einsum("eu,eu->e", features["linear"], moved)
    by_example += np.einsum("eu,euw,ew->e", moved, features["curvature"], moved) / 2
    graphs, chunk = _graphs(), _tensors(features)
    np.testing.assert_allclose(graphs.value(tf.constant(v), chunk)[0], by_example.sum())
    found = graphs.losses(tf.constant(v), chunk)
    np.testing.assert_allclose(found, by_example.reshape(ROUNDS, BATCH).sum(axis=1))


def test_units_expand_the_loss_along_their_own_pre_activation(features):
    """Slope and curvature of each example's loss, by differences of the sum over its round."""
    del features["weight"]
    found = _graphs().unit_expansions(_tensors(features))
    still = {**features, "inputs": np.eye(EXAMPLES)}
    for unit in range(UNITS):
        for example in (0, EXAMPLES - 1):
            ends = []
            for step in (-1.0, 0.0, 1.0):
                v = features["before"].copy()
                v[example, unit] += step
                ends.append(_by_example(v, still)[example] / BATCH)
            slope, curvature = (ends[2] - ends[0]) / 2, ends[2] - 2 * ends[1] + ends[0]
            np.testing.assert_allclose(found["linear"][example, unit], slope, rtol=1e-9)
            np.testing.assert_allclose(found["curvature"][example, unit], curvature, rtol=1e-9)
    at_rest = features | {"inputs": np.zeros((EXAMPLES, INPUTS)), "before": np.zeros((EXAMPLES, 2))}
    losses = _by_example(np.zeros((INPUTS, UNITS)), at_rest).reshape(ROUNDS, BATCH).mean(axis=1)
    np.testing.assert_allclose(found["losses"], losses)
    np.testing.assert_array_equal(found["weights"], np.ones(ROUNDS))


def test_units_on_several_places_have_no_expansion_of_their_own():
    chunk = {"before": tf.zeros((EXAMPLES, 2, UNITS))}
    assert _graphs().unit_expansions(chunk) is None
