"""Tests of a model that is expanded once: what the values of a run are."""

import cases
import keras
import numpy as np
import pytest

from keras_taylor.taylor import batch as batches
from keras_taylor.taylor.batch import batch_of, expand


@pytest.fixture
def case():
    return cases.make("mlp")


def test_expanded_values_against_explicit_jacobians(case):
    batch = batch_of(case.model, case.x, case.y)
    move = [(v - w).astype("float32") for v, w in zip(case.comparator, case.weights, strict=True)]
    alone = [move[0], None, None, None]
    expanded = expand(batch, [move, alone])
    jacobians = case.reference.jacobians
    products = [np.tensordot(j, m, axes=m.ndim) for j, m in zip(jacobians, move, strict=True)]
    np.testing.assert_allclose(expanded.points[0], case.reference.outputs, rtol=1e-5)
    np.testing.assert_allclose(expanded.tangents[0][0], sum(products), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(expanded.tangents[1][0], products[0], rtol=1e-4, atol=1e-5)
    upstream = np.random.default_rng(0).normal(size=case.reference.outputs.shape).astype("float32")
    for pulled, jacobian in zip(expanded.pullback([upstream]), jacobians, strict=True):
        expected = np.tensordot(upstream, jacobian, axes=2)
        np.testing.assert_allclose(pulled, expected, rtol=1e-4, atol=1e-5)
    assert expanded.penalty is None


def test_no_direction_is_a_run(case):
    batch = batch_of(case.model, case.x, case.y)
    expanded = expand(batch)
    assert expanded.tangents == []
    value = batches.output_loss_at(batch, expanded, expanded.points)
    expected = case.model.evaluate(case.x, case.y, verbose=0)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_weights_and_state_may_be_given(case):
    state = [v.numpy() for v in case.model.non_trainable_variables]
    weights = [keras.ops.convert_to_tensor(v, "float32") for v in case.comparator]
    batch = batch_of(case.model, case.x, case.y, weights=weights, state=state)
    found = expand(batch).outputs
    for variable, value in zip(case.model.trainable_variables, case.comparator, strict=True):
        variable.assign(value)
    np.testing.assert_allclose(found, case.model(case.x), rtol=1e-5)


def test_inputs_come_as_the_model_takes_them(case):
    assert batch_of(case.model, case.x.astype("float64"), case.y).x.dtype == "float32"
