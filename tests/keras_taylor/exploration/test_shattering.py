"""Tests of how fast gradients change from one input to the next."""

import keras
import numpy as np
import pytest
from scipy import stats

from keras_taylor.exploration import shattering


def _model(activation, depth=3, width=16):
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((4,))
    for number in range(depth):
        x = keras.layers.Dense(
            width, activation, name=f"dense_{number}", kernel_initializer="he_normal"
        )(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="last")(x))


X = np.random.default_rng(0).normal(size=(5, 4))


def test_gradients_match_finite_differences():
    model = _model("tanh")
    found = shattering.input_gradients(model, X, output=1)
    step = 1e-2
    for axis in range(4):
        moved = X + step * np.eye(4)[axis], X - step * np.eye(4)[axis]
        values = [np.asarray(model(m))[:, 1] for m in moved]
        np.testing.assert_allclose(found[:, axis], (values[0] - values[1]) / (2 * step), atol=1e-3)


def test_layer_and_weight_gradients_of_a_linear_network_by_hand():
    model = _model(None, depth=1, width=3)
    first, _, last, _ = model.get_weights()
    found = shattering.layer_gradients(model, X, output=1)
    assert set(found) == {"input", "dense_0", "last"}
    np.testing.assert_allclose(found["input"], np.tile(first @ last[:, 1], (5, 1)), rtol=1e-5)
    np.testing.assert_allclose(found["dense_0"], np.tile(last[:, 1], (5, 1)), rtol=1e-6)
    np.testing.assert_allclose(found["last"], np.tile([0.0, 1.0], (5, 1)))
    weights = shattering.weight_gradients(model, X, output=1)
    expected = np.einsum("ei,u->eiu", X, last[:, 1]).reshape(5, -1)
    np.testing.assert_allclose(weights[:, :12], expected, rtol=1e-4, atol=1e-6)


def test_a_linear_network_is_not_shattered():
    model = _model(None)
    along = shattering.input_gradients(model, shattering.line(X[0], X[1], 20))
    np.testing.assert_allclose(shattering.autocorrelation(along), np.ones(10), rtol=1e-5)
    found = shattering.correlation_by_distance(
        lambda x: shattering.input_gradients(model, x), X, [0.1, 10.0], directions=2
    )
    assert found.shape == (10, 2)
    np.testing.assert_allclose(found, 1.0, rtol=1e-5)


def test_correlation_falls_with_distance_in_a_rectifier_network():
    model = _model("relu", depth=6)
    found = shattering.correlation_by_distance(
        lambda x: shattering.input_gradients(model, x), X, [1e-4, 0.5, 5.0], directions=10
    )
    near, middle, far = np.nanmean(found, axis=0)
    assert near > 0.99
    assert near > middle > far


def test_distances_are_those_asked_for():
    seen = []

    def gradients(x):
        seen.append(x)
        return np.ones((len(x), 1))

    shattering.correlation_by_distance(gradients, X, [0.5, 2.0])
    (inputs,) = seen
    lengths = [np.linalg.norm(moved - X, axis=1) for moved in np.split(inputs, 3)[1:]]
    np.testing.assert_allclose(lengths, [[0.5] * 5, [2.0] * 5])


def test_autocorrelation_matches_a_plain_sum():
    gradients = np.random.default_rng(1).normal(size=(9, 3))
    found = shattering.autocorrelation(gradients, lags=4)
    power = np.mean([g @ g for g in gradients])
    for lag in range(4):
        pairs = [gradients[t] @ gradients[t + lag] for t in range(9 - lag)]
        assert found[lag] == pytest.approx(np.mean(pairs) / power)


def test_zero_gradients_are_no_number():
    assert np.isnan(shattering.autocorrelation(np.zeros((4, 2)))).all()
    found = shattering.correlation([[1.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(found, [np.sqrt(0.5), np.nan])


def test_band_is_students():
    curves = np.array([[1.0, 2.0], [3.0, np.nan], [2.0, 4.0]])
    mean, lower, upper = shattering.band(curves)
    np.testing.assert_allclose(mean, [2.0, 3.0])
    # Quantiles 97.5 % of Student's t with two degrees of freedom and with one.
    np.testing.assert_allclose(upper - mean, [4.302653 / np.sqrt(3), 12.706205], rtol=1e-6)
    np.testing.assert_allclose(mean - lower, upper - mean)
    assert np.isnan(shattering.band(curves[:1])[1]).all()


def test_interval_covers_the_mean_as_often_as_it_says():
    """In 4,000 samples of six normal values, 95 % within the error of a binomial count."""
    curves = np.random.default_rng(0).normal(3.0, 2.0, size=(6, 4000))
    _, lower, upper = shattering.band(curves)
    covered = int(np.sum((lower <= 3.0) & (upper >= 3.0)))
    assert stats.binomtest(covered, 4000, 0.95).pvalue > 0.001
    # The test tells it from the normal interval, which is too short for six values.
    mean, error = curves.mean(axis=0), curves.std(axis=0, ddof=1) / np.sqrt(6)
    short = int(np.sum(np.abs(mean - 3.0) <= 1.96 * error))
    assert stats.binomtest(short, 4000, 0.95).pvalue < 1e-6


def test_half_width():
    assert shattering.half_width([0, 1, 2], [1.0, 0.75, 0.25]) == pytest.approx(1.5)
    assert shattering.half_width([0, 2], [1.0, 0.5]) == 2.0
    assert shattering.half_width([0, 1], [1.0, 0.9]) == np.inf
    assert np.isnan(shattering.half_width([0, 1], [np.nan, np.nan]))


def test_line():
    found = shattering.line(np.zeros((2, 1)), np.ones((2, 1)), 5)
    assert found.shape == (5, 2, 1)
    np.testing.assert_allclose(found[1], 0.25)


def test_bad_input():
    with pytest.raises(ValueError, match="unknown output 2: the model has 2"):
        shattering.input_gradients(_model("relu"), X, output=2)
    for points, lags in ((1, None), (3, 0), (3, 4)):
        with pytest.raises(ValueError, match="points on the line"):
            shattering.autocorrelation(np.ones((points, 1)), lags)
