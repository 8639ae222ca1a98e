"""Tests of nonsmooth losses: smoothed from below, and the optimum certified with them."""

import keras
import numpy as np
import pytest
from objectives import solve_part
from scipy import optimize

import keras_taylor as kt
from keras_taylor.optimum import smoothing
from keras_taylor.optimum.rounds import Rounds

ROUNDS, BATCH, FEATURES = 3, 6, 3
LOSSES = {
    "mae": keras.losses.MeanAbsoluteError,
    "mape": keras.losses.MeanAbsolutePercentageError,
    "hinge": keras.losses.Hinge,
    "categorical_hinge": keras.losses.CategoricalHinge,
}


def _targets(name, generator):
    if name == "hinge":
        return generator.integers(0, 2, (ROUNDS, BATCH, 2)).astype("float64")
    if name == "categorical_hinge":
        return np.eye(2)[generator.integers(0, 2, (ROUNDS, BATCH))]
    return generator.normal(size=(ROUNDS, BATCH, 2)) + 3.0


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("width", [1.0, 1e-2, 1e-6])
@pytest.mark.parametrize("name", LOSSES)
def test_smoothed_losses_lie_just_below(name, width):
    generator = np.random.default_rng(0)
    y, f = _targets(name, generator)[0], 3 * generator.normal(size=(BATCH, 2))
    loss = LOSSES[name](reduction="none")
    true, smooth = (np.asarray(one(y, f)) for one in (loss, smoothing.Smoothed(loss, width)))
    assert (smooth <= true + 1e-12).all()
    # Percentages are a hundred times what is smoothed.
    assert (true - smooth <= (100 if name == "mape" else 2) * width).all()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", LOSSES)
def test_smoothed_losses_are_convex(name):
    generator = np.random.default_rng(1)
    y, (a, b) = _targets(name, generator)[0], 2 * generator.normal(size=(2, BATCH, 2))
    smooth = smoothing.Smoothed(LOSSES[name](reduction="none"), 0.3)
    middle = np.asarray(smooth(y, (a + b) / 2))
    assert (middle <= (np.asarray(smooth(y, a)) + np.asarray(smooth(y, b))) / 2 + 1e-12).all()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("name", "radius", "tolerance"),
    # Each loss with a radius, and each of these with several; all with -m slow.
    [
        pytest.param(*case, marks=() if number % 4 in (0, 3) else pytest.mark.slow)
        for number, case in enumerate(
            (name, *of) for name in LOSSES for of in ((0.2, 1e-3), (1.0, 3e-2))
        )
    ],
)
def test_interval_contains_the_optimum(name, radius, tolerance, tmp_path):
    """Against SciPy, on the losses of a linear model, which are its Taylor losses."""
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(ROUNDS, BATCH, FEATURES)), _targets(name, generator)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(2, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.01), loss=LOSSES[name]())
    batches = list(zip(x, y, strict=True))
    trajectory = kt.record(model, batches, tmp_path / "run", steps=ROUNDS, verbose=0)
    found = kt.taylor_optimum(trajectory, model, radius=radius, tolerance=tolerance, verbose=0)
    assert found.converged
    start = next(iter(trajectory)).weights[0].ravel()
    loss = _in_numpy(name)

    def objective(v):
        return loss(y.reshape(-1, 2), x.reshape(-1, FEATURES) @ v.reshape(-1, 2))

    np.testing.assert_allclose(objective(found.comparator[0].ravel()), found.value, rtol=1e-6)
    reference = _reference(name, x.reshape(-1, FEATURES), y.reshape(-1, 2), start, radius)
    assert found.lower_bound <= reference * (1 + 1e-9)
    assert found.value <= reference * (1 + 2 * tolerance)


def _reference(name, x, y, center, radius):
    """Returns the minimum over the ball: that of a bound on each term, which is smooth."""
    terms = {
        "mae": lambda f: [(y - f) / 2, (f - y) / 2],
        "mape": lambda f: [50 * (y - f) / y, 50 * (f - y) / y],
        "hinge": lambda f: [(1 - (2 * y - 1) * f) / 2, 0 * f],
        "categorical_hinge": lambda f: [
            np.sum((1 - 2 * y) * f, -1, keepdims=True) + 1,
            -np.sum(y * f, -1, keepdims=True) + 1,
            np.zeros((len(f), 1)),
        ],
    }[name]
    size = center.size

    def excess(z):
        f = x @ z[:size].reshape(-1, 2)
        bounds = z[size:].reshape(len(x), -1)
        return np.concatenate([(bounds - term).ravel() for term in terms(f)])

    # Affine in z, so a difference of any length is its derivative.
    count = np.max(terms(x @ center.reshape(-1, 2)), axis=0).size
    zero = np.zeros(size + count)
    jacobian = np.stack([excess(row) - excess(zero) for row in np.eye(len(zero))], axis=1)
    bounds = np.max(terms(x @ center.reshape(-1, 2)), axis=0).ravel()
    weight = np.concatenate([np.zeros(size), np.full(count, 1 / len(x))])
    ball = {
        "type": "ineq",
        "fun": lambda z: radius**2 - np.sum((z[:size] - center) ** 2),
        "jac": lambda z: np.concatenate([-2 * (z[:size] - center), np.zeros(count)]),
    }
    return optimize.minimize(
        lambda z: weight @ z,
        np.concatenate([center, bounds]),
        jac=lambda z: weight,
        method="SLSQP",
        constraints=[{"type": "ineq", "fun": excess, "jac": lambda z: jacobian}, ball],
        options={"maxiter": 500, "ftol": 1e-12},
    ).fun


def _in_numpy(name):
    return {
        "mae": lambda y, f: np.mean(np.abs(y - f)),
        "mape": lambda y, f: 100 * np.mean(np.abs((y - f) / y)),
        "hinge": lambda y, f: np.mean(np.maximum(1 - (2 * y - 1) * f, 0)),
        "categorical_hinge": lambda y, f: np.mean(
            np.maximum(np.max((1 - y) * f, -1) - np.sum(y * f, -1) + 1, 0)
        ),
    }[name]


def test_few_passes_leave_a_valid_interval(tmp_path):
    generator = np.random.default_rng(3)
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.01), loss="mae")
    batches = [
        (generator.normal(size=(BATCH, FEATURES)), generator.normal(size=(BATCH, 2)))
        for _ in range(ROUNDS)
    ]
    trajectory = kt.record(model, batches, tmp_path / "run", steps=ROUNDS, verbose=0)
    rounds = Rounds(trajectory, model)
    (exact,), _ = solve_part(rounds, "network", [1.0], 1e-3)
    for most in (1, 6):
        (short,), _ = solve_part(rounds, "network", [1.0], 1e-3, most)
        assert short.passes <= most
        assert not short.converged
        assert short.lower_bound <= exact.value
        assert exact.lower_bound <= short.value < np.inf


def test_sample_weights_and_several_outputs(tmp_path):
    inputs = keras.Input((FEATURES,))
    outputs = {"a": keras.layers.Dense(2, name="a")(inputs), "b": keras.layers.Dense(1)(inputs)}
    model = keras.Model(inputs, outputs)
    loss = {"a": "mae", "b": "mse"}
    model.compile(keras.optimizers.SGD(0.01), loss=loss, loss_weights={"a": 2.0, "b": 0.5})
    generator = np.random.default_rng(4)
    batches = [
        (
            generator.normal(size=(BATCH, FEATURES)),
            {"a": generator.normal(size=(BATCH, 2)), "b": generator.normal(size=(BATCH, 1))},
        )
        for _ in range(ROUNDS)
    ]
    trajectory = kt.record(model, batches, tmp_path / "run", steps=ROUNDS, verbose=0)
    found = kt.taylor_optimum(trajectory, model, radius=1.0, tolerance=0.01, verbose=0)
    assert found.converged
    assert found.lower_bound < found.value < found.average_loss
