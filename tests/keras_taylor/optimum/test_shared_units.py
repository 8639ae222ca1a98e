"""Tests of the units of a layer solved together: each as by passes through the model of its own."""

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.optimum import groups, shared_units
from keras_taylor.optimum.rounds import Rounds
from keras_taylor.optimum.streamed import StreamedObjective

ROUNDS, BATCH = 6, 5


def _model(loss, penalty=None):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    options = {"activation": "relu", "name": "conv", "kernel_regularizer": penalty}
    hidden = keras.layers.Conv2D(3, 3, **options)(inputs)
    hidden = keras.layers.MaxPooling2D()(hidden)
    hidden = keras.layers.Flatten()(hidden)
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(hidden))
    model.compile(keras.optimizers.SGD(0.2), loss=loss)
    return model


LOSSES = {
    "mse": keras.losses.MeanSquaredError,
    "cross-entropy": lambda: keras.losses.CategoricalCrossentropy(from_logits=True),
}


@pytest.fixture(scope="module", params=LOSSES)
def recorded(request, tmp_path_factory):
    model = _model(LOSSES[request.param]())
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROUNDS, BATCH, 6, 6, 2))
    y = np.eye(2)[generator.integers(0, 2, (ROUNDS, BATCH))]
    weights = generator.uniform(0.5, 2, (ROUNDS, BATCH))
    path = tmp_path_factory.mktemp("shared") / "run"
    batches = list(zip(x, y, weights, strict=True))
    return kt.record(model, batches, path, steps=ROUNDS, verbose=0), model


def test_objectives_are_those_of_passes_through_the_model(recorded):
    rounds = Rounds(*recorded)
    shared = shared_units.shared_units(rounds, "conv")
    generator = np.random.default_rng(1)

    def look(name):
        fast = shared.objective(name).over_first(4)
        first = fast.part.vector(rounds.first)
        v, p = first + 0.3 * generator.normal(size=(2, first.size))
        fast = fast.sharpened()
        found = fast.value_and_gradient(v), fast.curvature_product(v, p), fast.losses(v)
        return v, p, fast.part, found

    names = [f"unit:conv/{unit}" for unit in (0, 2)]
    looked = shared.run([lambda name=name: look(name) for name in names])
    for v, p, part, ((value, gradient), product, losses) in looked:
        slow = StreamedObjective(rounds, part).over_first(4)
        expected, expected_gradient = slow.value_and_gradient(v)
        assert value == pytest.approx(expected, rel=1e-9)
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-9)
        np.testing.assert_allclose(product, slow.sharpened().curvature_product(v, p), atol=1e-9)
        np.testing.assert_allclose(losses, slow.losses(v))


def _without_sharing(monkeypatch):
    monkeypatch.setattr(groups, "shared_units", lambda rounds, key: None)


@pytest.mark.parametrize("recorded", ["mse"], indirect=True)
def test_all_units_are_solved_for_together(recorded):
    trajectory, model = recorded
    units = [f"unit:conv/{unit}" for unit in range(3)]
    table = kt.decompose(trajectory, model, units, rounds=[3, ROUNDS], tolerance=0.05, verbose=0)
    assert [(row["part"], row["rounds"]) for row in table.rows] == [
        (unit, horizon) for unit in units for horizon in (3, ROUNDS)
    ]
    assert all(row["converged"] for row in table.rows)


@pytest.mark.slow
def test_optima_are_those_of_units_one_by_one(recorded, monkeypatch):
    trajectory, model = recorded
    options = {"tolerance": 1e-3, "verbose": 0}
    together = kt.taylor_optimum(trajectory, model, "units", **options)["conv"]
    assert [found.part for found in together] == [f"unit:conv/{unit}" for unit in range(3)]
    assert all(found.converged for found in together)
    _without_sharing(monkeypatch)
    alone = kt.taylor_optimum(trajectory, model, "unit:conv/1", **options)
    assert together[1].radius == alone.radius
    assert together[1].lower_bound <= alone.value
    assert alone.lower_bound <= together[1].value


@pytest.mark.slow
def test_a_sample_is_estimated_as_one_by_one(tmp_path, monkeypatch):
    model = _model("mse")
    generator = np.random.default_rng(0)
    batches = [
        (generator.normal(size=(BATCH, 6, 6, 2)), generator.normal(size=(BATCH, 2)))
        for _ in range(40)
    ]
    options = {"steps": 40, "sample": 16, "verbose": 0}
    trajectory = kt.record(model, batches, tmp_path / "run", **options)
    options = {"tolerance": 1e-5, "verbose": 0}
    names = ["unit:conv/0", "unit:conv/2"]
    together = kt.decompose(trajectory, model, names, rounds=[8, 40], **options).rows
    assert [row["part"] for row in together] == [names[0]] * 2 + [names[1]] * 2
    _without_sharing(monkeypatch)
    alone = kt.taylor_optimum(trajectory, model, names[1], **options)
    for found, expected in zip(
        (together[-1]["optimum_lower"], together[-1]["optimum_upper"]),
        alone.interval(),
        strict=True,
    ):
        # The value of the check sample is that of a point, which is less sharp than the minimum.
        assert found == pytest.approx(expected, rel=1e-2)
    assert together[-1]["optimum_upper_error"] == pytest.approx(alone.value_error, rel=0.1)


def test_layers_that_cannot_share_say_so(recorded, tmp_path, monkeypatch):
    rounds = Rounds(*recorded)
    monkeypatch.setattr(shared_units, "KEPT_BYTES", 100)
    assert shared_units.shared_units(rounds, "conv") is None
    model = _model("mse", penalty="l2")
    batch = np.ones((BATCH, 6, 6, 2)), np.ones((BATCH, 2))
    trajectory = kt.record(model, [batch] * 3, tmp_path / "run", steps=3, verbose=0)
    monkeypatch.undo()
    assert shared_units.shared_units(Rounds(trajectory, model), "conv") is None


def test_an_interrupted_pass_ends_all_solves_with_valid_intervals(recorded, monkeypatch):
    trajectory, model = recorded
    served, original = [], shared_units.SharedUnits._pass

    def interrupt(self, *args):
        served.append(args)
        if len(served) == 3:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(shared_units.SharedUnits, "_pass", interrupt)
    found = kt.taylor_optimum(trajectory, model, "units", tolerance=1e-9, verbose=0)
    assert list(found) == ["conv"], "the units of later layers are not solved for"
    for optimum in found["conv"]:
        assert optimum.reason == "interrupted"
        assert optimum.lower_bound <= optimum.value < np.inf
