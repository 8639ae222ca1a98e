"""Tests that bounds hold in floating point, against the minimum in extended precision."""

import keras
import numpy as np
import pytest
from objectives import solve_part

import keras_taylor as kt
from keras_taylor.optimum.certificate import Interval
from keras_taylor.optimum.rounds import Rounds

ROUNDS, BATCH, FEATURES = 10, 16, 11


@pytest.fixture(scope="module", params=[1e-3, 1.0, 1e3])
def least_squares(request, tmp_path_factory):
    """A recorded linear model in float32 with 12 unknowns, its design, targets and centre."""
    keras.utils.set_random_seed(0)
    generator, scale = np.random.default_rng(0), request.param
    x = (scale * generator.normal(size=(ROUNDS, BATCH, FEATURES))).astype("float32")
    y = generator.normal(size=(ROUNDS, BATCH, 1)).astype("float32")
    layers = [keras.Input((FEATURES,)), keras.layers.Dense(1, name="a")]
    model = keras.Sequential(layers, name="net")
    model.compile(keras.optimizers.SGD(1e-3 / max(1, scale) ** 2), loss="mse")
    batches, path = list(zip(x, y, strict=True)), tmp_path_factory.mktemp("squares") / "run"
    trajectory = kt.record(model, batches, path, steps=ROUNDS, verbose=0)
    kernel, bias = next(iter(trajectory)).weights
    design = np.c_[x.reshape(-1, FEATURES), np.ones(ROUNDS * BATCH)].astype(np.longdouble)
    center = np.concatenate([kernel.ravel(), bias]).astype(np.longdouble)
    return Rounds(trajectory, model), design, y.ravel(), center


def _solve(matrix, vector):
    """Solves a linear system by elimination with pivots, in the precision of its arguments."""
    matrix, vector, size = matrix.copy(), vector.copy(), len(vector)
    for i in range(size):
        pivot = i + np.argmax(abs(matrix[i:, i]))
        matrix[[i, pivot]], vector[[i, pivot]] = matrix[[pivot, i]], vector[[pivot, i]]
        for j in range(i + 1, size):
            factor = matrix[j, i] / matrix[i, i]
            matrix[j, i:] -= factor * matrix[i, i:]
            vector[j] -= factor * vector[i]
    found = np.zeros_like(vector)
    for i in range(size - 1, -1, -1):
        found[i] = (vector[i] - matrix[i, i + 1 :] @ found[i + 1 :]) / matrix[i, i]
    return found


def _minimum(design, targets, center, radius):
    """Returns the least mean square within the ball, in extended precision."""
    curvature = 2 * design.T @ design / len(targets)
    gradient = 2 * design.T @ (design @ center - targets) / len(targets)
    identity = np.eye(len(center), dtype=np.longdouble)
    move = _solve(curvature, -gradient)
    if np.sqrt(move @ move) > radius:
        low, high = np.longdouble(0), np.sqrt(gradient @ gradient) / radius
        for _ in range(90):
            shift = (low + high) / 2
            move = _solve(curvature + shift * identity, -gradient)
            low, high = (shift, high) if np.sqrt(move @ move) > radius else (low, shift)
    return np.mean((design @ (center + move) - targets) ** 2)


@pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 1e-18, reason="this machine has no extended precision"
)
@pytest.mark.parametrize(
    ("radius", "tolerance"), [(0.1, 1e-8), (50.0, 1e-4), (50.0, 1e-8), (1000.0, 1e-8)]
)
def test_interval_contains_the_minimum(least_squares, radius, tolerance):
    rounds, *problem = least_squares
    minimum = _minimum(*problem, radius)
    assert rounds.wide_model.trainable_variables[0].dtype == "float64"
    (found,), _ = solve_part(rounds, "network", [radius], tolerance, max_passes=25)
    assert found.lower_bound <= minimum <= found.value
    assert found.converged == (found.reason == "converged")
    if found.converged:
        assert found.gap <= tolerance * found.value
    else:
        assert found.reason in ("out of passes", "stalled by rounding")


def test_ends_that_crossed_are_moved_apart():
    rounded = Interval(np.zeros(1), 1.0, 1.25).rounded(1e-12)
    assert rounded.lower_bound < 1.0
    assert rounded.value > 1.25
    plain = Interval(np.zeros(1), 1.0, 0.5).rounded(1e-12)
    assert plain.value == pytest.approx(1.0, abs=1e-11)
    assert plain.value > 1.0
    assert plain.lower_bound < 0.5


def test_the_allowance_is_relative_to_the_largest_term():
    near_zero = Interval(np.zeros(1), 1e-20, 0.0, scale=2.0).rounded(1e-12, size=3.0)
    assert near_zero.value == pytest.approx(3e-12)
    assert near_zero.lower_bound == pytest.approx(-3e-12)
