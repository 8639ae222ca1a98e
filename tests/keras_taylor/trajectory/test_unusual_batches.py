"""Tests of recordings whose batches are not all alike."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt


def test_structured_batches_sample_weights_and_a_smaller_last_batch(path):
    inputs = {"a": keras.Input((2,)), "b": keras.Input((3,))}
    joined = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
    model = keras.Model(inputs, keras.layers.Dense(1)(joined))
    model.compile("sgd", loss="mse")
    batches = [
        (
            {"a": np.ones((n, 2), "float32"), "b": np.ones((n, 3), "float32")},
            np.ones((n, 1)),
            np.ones(n),
        )
        for n in (4, 4, 3)
    ]
    first, *_, last = kt.record(model, batches, path, steps=3, verbose=0)
    assert set(first.x) == {"a", "b"}
    assert last.x["b"].shape == (3, 3)
    assert last.sample_weight.shape == (3,)


def test_lengths_that_differ_from_batch_to_batch(path):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv1D(3, 2, activation="relu"), keras.layers.GlobalAveragePooling1D()]
    model = keras.Sequential([keras.Input((None, 2)), *layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    generator, lengths = np.random.default_rng(0), (5, 9, 3, 5)
    data = [(generator.normal(size=(4, n, 2)), np.ones((4, 1))) for n in lengths]
    trajectory = kt.record(model, data, path, steps=len(lengths), verbose=0)
    for round, (x, _) in zip(trajectory, data, strict=True):
        np.testing.assert_array_equal(round.x, x)
        found = kt.taylor_loss(model, round.x, round.y, round.weights)
        assert np.isfinite(float(found))
    first = kt.taylor_optimum(trajectory, model, tolerance=1e-3, verbose=0)
    assert first.converged
    assert first.lower_bound <= first.value <= first.average_loss


@pytest.mark.parametrize("given", [0, 1])
def test_sample_weights_in_some_rounds_only(path, given):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(6, 4, 3)), generator.normal(size=(6, 4, 2))
    weights = [[0.0, 0, 0, 4.0] if n % 2 == given else None for n in range(6)]
    data = [
        (a, b) if w is None else (a, b, np.array(w)) for a, b, w in zip(x, y, weights, strict=True)
    ]
    trajectory = kt.record(model, data, path, steps=6, verbose=0)
    losses = []
    for round, weight in zip(trajectory, weights, strict=True):
        found = round.sample_weight
        assert (None if found is None else found.tolist()) == weight
        (kernel, bias), factors = round.weights, np.ones(4) if weight is None else weight
        error = ((round.x @ kernel + bias - round.y) ** 2).mean(axis=1)
        assert round.loss == pytest.approx(float(error @ factors) / 4, rel=1e-5)
        # The model is linear: the Taylor loss is the loss.
        design = np.concatenate([round.x, np.ones((4, 1))], axis=1) * np.sqrt(factors)[:, None]
        losses.append((design, round.y * np.sqrt(factors)[:, None]))
    found = kt.taylor_optimum(trajectory, model, radius=100.0, tolerance=1e-6, verbose=0)
    design, targets = map(np.concatenate, zip(*losses, strict=True))
    residual = np.linalg.lstsq(design, targets, rcond=None)[1].sum()
    assert found.value == pytest.approx(residual / (6 * 4 * 2), rel=1e-4)


def test_unusual_batches(run, path):
    """Empty ones are no rounds; sparse ones are kept dense; models that are not built are told."""
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile("sgd", loss="mse")
    dense = np.eye(5, dtype="float32")[:4]
    data = [(tf.sparse.from_dense(dense), np.ones((4, 3))), (dense[:0], np.ones((0, 3)))] * 2
    trajectory = kt.record(model, data, path, steps=2, verbose=0)
    for round in trajectory:
        np.testing.assert_array_equal(round.x, dense)
    kt.record(model, [*data, *data[:1]], path, steps=3, resume=True, verbose=0)
    model = keras.Sequential([keras.layers.Dense(3)])
    model.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match="is not built or has no weights: give it an Input"):
        kt.record(model, data, path.with_name("other"), steps=2, verbose=0)
