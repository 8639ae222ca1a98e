"""Tests of Taylor optima: closed forms, general solvers, bounds from elsewhere."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize
from sklearn import linear_model

import keras_taylor as kt
from keras_taylor.optimum.objective import Objective

pytestmark = pytest.mark.usefixtures("traced_once")
ROUNDS, BATCH, FEATURES = 6, 16, 4


def _linear_data(classes=None):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROUNDS, BATCH, FEATURES)).astype(keras.config.floatx())
    if classes is None:
        return [(a, a[:, :2] @ np.ones((2, 2)) + generator.normal(size=(BATCH, 2))) for a in x]
    labels = generator.integers(0, classes, (ROUNDS, BATCH))
    return list(zip(x, labels, strict=True))


def _recorded(tmp_path, loss, batches, hidden=(), outputs=2, rate=0.05, activation="relu"):
    keras.utils.set_random_seed(1)
    inputs = x = keras.Input((FEATURES,))
    for index, width in enumerate(hidden):
        x = keras.layers.Dense(width, activation, name=f"hidden_{index}")(x)
    model = keras.Model(inputs, keras.layers.Dense(outputs, name="last")(x))
    model.compile(keras.optimizers.SGD(rate), loss=loss)
    return kt.record(model, batches, tmp_path / "run", steps=len(batches), verbose=0), model


def _solve(trajectory, model, scope="network", **options):
    return kt.taylor_optimum(trajectory, model, scope, verbose=0, **options)


@pytest.mark.usefixtures("float64")
def test_linear_regression_matches_the_normal_equations(tmp_path):
    batches = _linear_data()
    trajectory, model = _recorded(tmp_path, "mse", batches)
    x, y = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    design = np.c_[x, np.ones(len(x))]
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    found = _solve(trajectory, model, radius=100.0, tolerance=1e-6)
    assert found.converged
    np.testing.assert_allclose(found.value, np.mean((design @ solution - y) ** 2), rtol=1e-6)
    np.testing.assert_allclose(np.vstack(found.comparator), solution, atol=1e-2)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("radius", [0.1, 0.5])
@pytest.mark.parametrize("loss", ["mse", "logistic"])
def test_interval_contains_the_optimum_on_the_ball(tmp_path, radius, loss):
    """Against SciPy, on the model's own losses, which are the Taylor losses of a linear model."""
    is_squared = loss == "mse"
    batches = _linear_data(None if is_squared else 2)
    loss = "mse" if is_squared else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trajectory, model = _recorded(tmp_path, loss, batches)
    x, y = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    design = np.c_[x, np.ones(len(x))]
    start = np.vstack(next(iter(trajectory)).weights).ravel()

    def objective(v):
        f = design @ v.reshape(-1, 2)
        if is_squared:
            return np.mean((f - y) ** 2)
        return np.mean(np.logaddexp(f[:, 0], f[:, 1]) - f[np.arange(len(y)), y])

    reference = optimize.minimize(
        objective,
        start,
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda v: radius**2 - np.sum((v - start) ** 2)},
        options={"ftol": 1e-12, "maxiter": 500},
    ).fun
    for tolerance in (1e-1, 1e-3, 1e-6):
        found = _solve(trajectory, model, radius=radius, tolerance=tolerance)
        assert found.converged
        assert found.radius == radius
        assert found.gap <= tolerance * found.value
        assert found.lower_bound <= reference + 1e-8
        assert reference <= found.value + 1e-8


@pytest.mark.usefixtures("float64")
def test_logistic_regression_matches_scikit_learn(tmp_path):
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    batches = [(x, y[:, None].astype("float64")) for x, y in _linear_data(2)]
    trajectory, model = _recorded(tmp_path, loss, batches, outputs=1)
    x, y = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    # Without regularisation, which recent versions spell as an infinite C.
    fitted = linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, y[:, 0])
    f = x @ fitted.coef_[0] + fitted.intercept_
    expected = np.mean(np.logaddexp(0, f) - y[:, 0] * f)
    found = _solve(trajectory, model, radius=20.0, tolerance=1e-6)
    np.testing.assert_allclose(found.value, expected, rtol=1e-5)


@pytest.mark.usefixtures("float64")
def test_last_layer_of_a_network_matches_least_squares_on_its_features(tmp_path):
    batches = _linear_data()
    trajectory, model = _recorded(tmp_path, "mse", batches, hidden=(5,))
    rows, targets = [], []
    for round in trajectory:
        hidden = np.maximum(round.x @ round.weights[0] + round.weights[1], 0)
        rows.append(np.c_[hidden, np.ones(BATCH)])
        targets.append(round.y)
    design, y = np.concatenate(rows), np.concatenate(targets)
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    found = _solve(trajectory, model, "layer:last", radius=100.0, tolerance=1e-6)
    np.testing.assert_allclose(found.value, np.mean(residual**2), rtol=1e-6)
    for kept, first in zip(found.comparator[:2], next(iter(trajectory)).weights, strict=False):
        np.testing.assert_array_equal(kept, first)


@pytest.fixture(scope="module")
def recorded_network(tmp_path_factory):
    """A recorded classifier in float64; Keras computes in float32 again afterwards."""
    for dtype in ("float64", "float32"):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        if dtype == "float64":
            path, batches = tmp_path_factory.mktemp("network"), _linear_data(3)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            options = {"hidden": (6, 5), "outputs": 3, "activation": "tanh"}
            found = _recorded(path, loss, batches, **options)
    return found


@pytest.fixture
def network(recorded_network, float64):
    return recorded_network


def _average_taylor_loss(trajectory, model, scope):
    """Returns a function of a comparator, traced once."""
    traced = tf.function(lambda x, y, v: kt.taylor_loss(model, x, y, v, scope))

    def average(comparator):
        total = 0.0
        for round in trajectory:
            for variable, value in zip(model.trainable_variables, round.weights, strict=True):
                variable.assign(value)
            x, y, *v = map(tf.constant, (round.x, round.y, *comparator))
            total += float(traced(x, y, v))
        return total / len(trajectory)

    return average


@pytest.mark.parametrize("scope", ["network", "layer:hidden_0", "layer:last", "unit:hidden_1/2"])
def test_value_is_that_of_the_comparator_and_no_other_is_below_the_bound(network, scope):
    trajectory, model = network
    found = _solve(trajectory, model, scope, tolerance=1e-4)
    average = _average_taylor_loss(trajectory, model, scope)
    np.testing.assert_allclose(found.value, average(found.comparator), rtol=1e-10)
    first = next(iter(trajectory)).weights
    generator = np.random.default_rng(2)
    moves = [np.abs(c - f) > 0 for c, f in zip(found.comparator, first, strict=True)]
    for _ in range(10):
        step = [generator.normal(size=f.shape) * m for f, m in zip(first, moves, strict=True)]
        length = found.radius / np.sqrt(sum(np.sum(s**2) for s in step))
        inside = [f + length * s for f, s in zip(first, step, strict=True)]
        assert average(inside) >= found.lower_bound - 1e-12


def test_regret_lies_between_that_of_comparators_and_linear_regret(network):
    trajectory, model = network
    rounds = list(trajectory)
    found = _solve(trajectory, model, tolerance=1e-3)
    at_first = _average_taylor_loss(trajectory, model, "network")(rounds[0].weights)
    assert found.average_loss == pytest.approx(np.mean([round.loss for round in rounds]))
    lower, upper = found.average_regret
    assert found.average_loss - at_first <= upper
    inner, total = 0.0, 0.0
    for round in rounds:
        for variable, value in zip(model.trainable_variables, round.weights, strict=True):
            variable.assign(value)
        _, gradient = kt.taylor_loss_and_gradient(model, round.x, round.y, round.weights)
        flat = np.concatenate([np.ravel(g) for g in gradient])
        moved = [w - f for w, f in zip(round.weights, rounds[0].weights, strict=True)]
        inner += flat @ np.concatenate([m.ravel() for m in moved])
        total = total + flat
    assert lower <= (inner + found.radius * np.linalg.norm(total)) / len(rounds)


def test_default_radius_is_the_distance_travelled_by_the_part(network):
    trajectory, model = network
    rounds = list(trajectory)
    first = rounds[0].weights

    def travelled(indices):
        return max(
            np.sqrt(sum(np.sum((r.weights[i] - first[i]) ** 2) for i in indices)) for r in rounds
        )

    layers = _solve(trajectory, model, "layers", tolerance=0.1)
    assert list(layers) == ["hidden_0", "hidden_1", "last"]
    for number, found in enumerate(layers.values()):
        np.testing.assert_allclose(found.radius, travelled([2 * number, 2 * number + 1]), rtol=1e-9)
    assert _solve(trajectory, model, tolerance=0.1).radius == pytest.approx(travelled(range(6)))


@pytest.mark.slow
def test_a_larger_ball_has_a_lower_optimum(network):
    found = [_solve(*network, radius=radius, tolerance=1e-4) for radius in (0.1, 1.0, 10.0)]
    values = [each.value for each in found]
    assert values == sorted(values, reverse=True)


def test_passes_are_limited_and_the_interval_stays_valid(network):
    trajectory, model = network
    exact = _solve(trajectory, model, radius=5.0, tolerance=1e-6)
    short = _solve(trajectory, model, radius=5.0, tolerance=1e-6, max_passes=4)
    assert short.passes <= 4
    assert not short.converged
    assert short.lower_bound <= exact.value
    assert exact.lower_bound <= short.value


def test_single_precision_with_batch_normalization(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((FEATURES,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(5, "relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss=loss)
    batches = [(x.astype("float32"), y) for x, y in _linear_data(3)]
    trajectory = kt.record(model, batches, tmp_path / "run", steps=ROUNDS, verbose=0)
    found = _solve(trajectory, model, tolerance=0.01)
    assert found.converged
    assert found.value < found.average_loss * 1.5


def test_bad_input(network):
    trajectory, model = network
    for options, message in (
        ({"radius": 0.0}, "radius must be a positive number"),
        ({"tolerance": -1.0}, "tolerance must be a positive number"),
        ({"scope": "hidden_0"}, "unknown scope 'hidden_0'.*layer:<key>.*: hidden_0"),
        ({"scope": "layer:nope"}, "unknown layer 'nope'.*hidden_0"),
        ({"scope": "unit:last/3"}, "layer 'last' has 3 units, numbered from 0 to 2"),
        ({"scope": "unit:last"}, "unknown scope"),
        ({"radius": []}, "empty list"),
        ({"radius": [1.0, -1.0]}, "radius must be a positive number"),
    ):
        with pytest.raises(ValueError, match=message):
            _solve(trajectory, model, **options)


def test_parts_that_stand_still_need_a_radius(tmp_path):
    trajectory, model = _recorded(tmp_path, "mse", _linear_data(), rate=0.0)
    with pytest.raises(ValueError, match="did not move"):
        _solve(trajectory, model)


@pytest.mark.parametrize("loss", ["mse", pytest.param("cross-entropy", marks=pytest.mark.slow)])
def test_several_radii(tmp_path, float64, loss):
    is_squared = loss == "mse"
    batches = _linear_data(None if is_squared else 3)
    loss = "mse" if is_squared else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"hidden": (6,), "outputs": 2 if is_squared else 3, "activation": "tanh"}
    trajectory, model = _recorded(tmp_path, loss, batches, **options)
    radii = [1.0, None, 3.0]
    found = _solve(trajectory, model, radius=radii, tolerance=1e-4)
    assert found[1].radius < 1
    for radius, each in zip(radii, found, strict=True):
        alone = _solve(trajectory, model, radius=radius, tolerance=1e-4)
        assert each.converged
        assert each.radius == alone.radius
        assert each.value == pytest.approx(alone.value, rel=2e-4)
    by_layer = _solve(trajectory, model, "layers", radius=radii, tolerance=1e-2)
    assert [len(each) for each in by_layer.values()] == [3, 3]


def test_a_solve_goes_on_from_an_earlier_one(network):
    trajectory, model = network
    options = {"radius": 3.0, "tolerance": 1e-6}
    short = _solve(trajectory, model, max_passes=8, **options)
    after = _solve(trajectory, model, warm_start=short, **options)
    assert not short.converged
    assert after.converged
    assert after.value <= short.value
    # Where the minimum is, is handed on; where the lower bound is, is found again.
    again = _solve(trajectory, model, warm_start=after, **options)
    assert again.passes < _solve(trajectory, model, **options).passes
    with pytest.raises(ValueError, match="warm_start must be an Optimum.*received list"):
        _solve(trajectory, model, warm_start=after.comparator)
    other = dataclasses.replace(after, comparator=after.comparator[1:])
    with pytest.raises(ValueError, match="the comparator of warm_start must be a list of arrays"):
        _solve(trajectory, model, warm_start=other)


@pytest.mark.parametrize("scope", ["network", "layers", "units"])
def test_ctrl_c_in_a_pass_ends_with_valid_intervals(network, monkeypatch, scope):
    trajectory, model = network
    options = {"radius": 3.0, "tolerance": 1e-6}
    exact = _flat(_solve(trajectory, model, scope, **options))
    original, calls = Objective.answers, []

    def answers(self, asked):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self, asked)

    monkeypatch.setattr(Objective, "answers", answers)
    found = _flat(_solve(trajectory, model, scope, **options))
    assert "interrupted" in {each.reason for each in found}
    for one, other in zip(found, exact, strict=False):
        assert one.lower_bound <= other.value
        assert other.lower_bound <= one.value


def _flat(found):
    if isinstance(found, dict):
        return [one for each in found.values() for one in _flat(each)]
    return found if isinstance(found, list) else [found]


def test_progress_shows_value_and_gap(network, capsys):
    trajectory, model = network
    kt.taylor_optimum(trajectory, model, verbose=1, tolerance=1e-4)
    shown = capsys.readouterr().out
    assert "pass" in shown
    assert "value:" in shown
    assert "gap:" in shown


def test_a_solve_of_one_pass_shows_its_value_too(network, capsys):
    kt.taylor_optimum(*network, verbose=1, max_passes=1)
    assert "value:" in capsys.readouterr().out


def test_all_units(network, capsys):
    trajectory, model = network
    found = kt.taylor_optimum(trajectory, model, "units", tolerance=1e-3, verbose=1)
    shown = capsys.readouterr().out
    assert "14/14" in shown
    assert "pass" not in shown, "units have one bar together"
    assert {layer: len(units) for layer, units in found.items()} == {
        "hidden_0": 6,
        "hidden_1": 5,
        "last": 3,
    }
    alone = _solve(trajectory, model, "unit:hidden_1/2", tolerance=1e-3)
    assert found["hidden_1"][2].part == alone.part
    assert found["hidden_1"][2].value == pytest.approx(alone.value, rel=1e-12)
