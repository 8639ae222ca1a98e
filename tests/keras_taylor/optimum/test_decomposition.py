"""Tests of loss = optimum + regret over rounds, and of the rate of regret."""

import csv

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.optimum import decomposition
from keras_taylor.optimum.objective import Objective
from keras_taylor.optimum.optimum import INTERRUPTED

pytestmark = pytest.mark.usefixtures("traced_once")
STEPS, BATCH = 40, 8


def _model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(6, "relu", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, name="last")(hidden))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    tracker = kt.optimizers.RegretTracker(keras.optimizers.Adam(0.02))
    model.compile(tracker, loss=loss)
    return model


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(STEPS, BATCH, 4)).astype("float32")
    y = np.argmax(x[..., :3], axis=-1)
    path = tmp_path_factory.mktemp("decomposition") / "run"
    model = _model()
    batches = list(zip(x, y, strict=True))
    return kt.record(model, batches, path, steps=STEPS, verbose=0), model


@pytest.fixture(scope="module")
def table(recorded):
    scope = ["network", "layers", "unit:hidden/2"]
    return kt.decompose(*recorded, scope, rounds=[5, 12, 25, STEPS], tolerance=1e-3, verbose=0)


def test_rows_add_up_and_are_ordered(table):
    parts = ["network", "layer:hidden", "layer:last", "unit:hidden/2"]
    found = [(row["part"], row["rounds"]) for row in table.rows]
    assert found == [(part, n) for part in parts for n in (5, 12, 25, STEPS)]
    for row in table.rows:
        assert row["converged"]
        assert row["optimum_lower"] <= row["optimum_upper"]
        assert row["average_regret_lower"] + row["optimum_upper"] == pytest.approx(
            row["average_loss"]
        )
        assert row["average_regret_upper"] + row["optimum_lower"] == pytest.approx(
            row["average_loss"]
        )
        assert row["average_regret_lower"] <= row["average_linear_regret"] + 1e-6


def test_whole_run_is_that_of_taylor_optimum(recorded, table):
    for row in table.rows:
        if row["rounds"] == STEPS:
            found = kt.taylor_optimum(*recorded, row["part"], tolerance=1e-3, verbose=0)
            assert row["radius"] == pytest.approx(found.radius)
            assert row["optimum_upper"] == pytest.approx(found.value, rel=2e-3)


def test_first_rounds_are_a_recording_of_their_own(recorded, table, tmp_path):
    rounds = list(recorded[0])[:12]
    batches = [(r.x, r.y) for r in rounds]
    model = _model()
    trajectory = kt.record(model, batches, tmp_path / "run", steps=12, verbose=0)
    found = kt.taylor_optimum(trajectory, model, tolerance=1e-3, verbose=0)
    row = next(r for r in table.rows if (r["part"], r["rounds"]) == ("network", 12))
    assert row["average_loss"] == pytest.approx(found.average_loss, rel=1e-6)
    assert row["radius"] == pytest.approx(found.radius, rel=1e-6)
    assert row["optimum_upper"] == pytest.approx(found.value, rel=2e-3)


def test_regret_of_rounds_adds_up(table):
    for row in table.rows:
        regrets = table.regrets[row["part"], row["rounds"]]
        assert regrets.shape == (row["rounds"],)
        assert regrets.mean() == pytest.approx(row["average_regret_lower"], abs=1e-5)


def test_csv_has_every_row(table, tmp_path):
    table.to_csv(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == decomposition.COLUMNS
    assert [row["part"] for row in rows] == [row["part"] for row in table.rows]
    assert float(rows[0]["optimum_upper"]) == table.rows[0]["optimum_upper"]


def test_default_rounds_are_log_spaced(recorded):
    found = kt.decompose(*recorded, "layer:last", tolerance=0.05, verbose=0)
    horizons = [row["rounds"] for row in found.rows]
    assert horizons[0] == 10
    assert horizons[-1] == STEPS
    assert len(horizons) == 8


@pytest.mark.slow
def test_several_radii(recorded, table):
    options = {"tolerance": 1e-3, "rounds": [5, 12, 25, STEPS], "verbose": 0}
    scope = ["network", "layer:last"]
    travelled, last, given = kt.decompose(*recorded, scope, radius=[None, "last", 0.5], **options)
    alone = {(row["part"], row["rounds"]): row for row in table.rows}
    for rows in zip(travelled.rows, last.rows, given.rows, strict=True):
        row, at_last, at_given = rows
        whole = alone[row["part"], STEPS]
        assert row["radius"] == alone[row["part"], row["rounds"]]["radius"]
        assert (at_last["radius"], at_given["radius"]) == (whole["radius"], 0.5)
        for found in rows:
            assert found["converged"]
            assert found["optimum_lower"] <= found["optimum_upper"]
        assert at_last["optimum_lower"] <= row["optimum_upper"], "the larger ball has the lower one"
    assert last.rows[3]["optimum_upper"] == travelled.rows[3]["optimum_upper"]
    assert set(last.regrets) == set(travelled.regrets)
    (only,) = kt.decompose(*recorded, "network", radius=["last"], **options)
    for row, found in zip(last.rows, only.rows, strict=False):
        assert found["optimum_lower"] <= row["optimum_upper"]
        assert row["optimum_lower"] <= found["optimum_upper"]


def test_equal_radii_are_looked_at_once(recorded, monkeypatch):
    seen, original = [], Objective.losses

    def losses(self, places, points, check=False):
        seen.append((self.horizon, np.asarray(points).tobytes()))
        return original(self, places, points, check)

    monkeypatch.setattr(Objective, "losses", losses)
    one, other = kt.decompose(
        *recorded, "layer:last", rounds=[12, STEPS], radius=[None, "last"], verbose=0
    )
    assert len(seen) == len(set(seen)) == 3
    assert one.rows[1] == other.rows[1]
    np.testing.assert_array_equal(*(t.regrets["layer:last", STEPS] for t in (one, other)))


def test_few_passes_leave_one_for_each_radius(recorded):
    for most in (2, 5, 9, 12):
        tables = kt.decompose(
            *recorded,
            "network",
            rounds=[12, STEPS],
            radius=[0.1, "last"],
            tolerance=1e-9,
            max_passes=most,
            verbose=0,
        )
        rows = [row for table in tables for row in table.rows]
        assert all(row["passes"] <= most for row in rows)
        assert all(np.isfinite([row["optimum_lower"], row["optimum_upper"]]).all() for row in rows)


def test_a_solve_without_a_pass_has_no_regret(recorded):
    first, second = kt.decompose(
        *recorded, "network", [5, 12, STEPS], radius=[0.1, 0.2], max_passes=1, verbose=0
    )
    assert np.isinf([row["optimum_upper"] for row in first.rows]).all()
    assert np.isfinite([row["optimum_upper"] for row in second.rows]).all()
    assert np.isnan(first.rate()["network"].slope)


def test_an_interrupt_between_passes_keeps_the_rows(recorded, monkeypatch):
    original = Objective.losses

    def losses(self, *arguments):
        if self.horizon == STEPS:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Objective, "losses", losses)
    found = kt.decompose(*recorded, "layers", rounds=[5, STEPS], verbose=0)
    assert [row["rounds"] for row in found.rows] == [5]
    assert found.interrupted


def test_an_interrupt_in_the_last_solve_is_known(recorded, monkeypatch):
    """All rows are there then, and the last one's interval is wider than it was to be."""
    original = decomposition._entry

    def entry(*arguments):
        *found, _ = original(*arguments)
        return *found, INTERRUPTED

    assert not kt.decompose(*recorded, "layer:last", rounds=[5], verbose=0).interrupted
    monkeypatch.setattr(decomposition, "_entry", entry)
    assert kt.decompose(*recorded, "layer:last", rounds=[5], verbose=0).interrupted


def test_progress_is_shown(recorded, capsys):
    kt.decompose(*recorded, "layer:last", rounds=[STEPS], verbose=1)
    assert "optimum_upper" in capsys.readouterr().out


def test_parts_that_stand_still_have_no_regret(tmp_path):
    model = _model()
    model.compile(keras.optimizers.SGD(0.0), loss=model.loss)
    batches = [(np.ones((BATCH, 4)), np.zeros(BATCH))] * 3
    trajectory = kt.record(model, batches, tmp_path / "run", steps=3, verbose=0)
    (row,) = kt.decompose(trajectory, model, "network", rounds=[3], verbose=0).rows
    assert row["radius"] == 0.0
    assert row["average_regret_lower"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": [1]}, "from 2 to 40"),
        ({"rounds": [41]}, "from 2 to 40"),
        ({"rounds": []}, "from 2 to 40"),
        ({"rounds": [2.5]}, "from 2 to 40"),
        ({"rounds": 5}, "rounds must be a list of integers, received 5"),
        ({"scope": None}, "unknown scope None"),
        ({"scope": []}, "scope is an empty list"),
        ({"tolerance": 0}, "tolerance must be"),
        ({"radius": -1.0}, "radius must be"),
        ({"radius": "first"}, "radius must be a positive number, received 'first'"),
        ({"radius": []}, "radius is an empty list"),
        ({"radius": True}, "radius must be a positive number, received True"),
        ({"max_passes": 0}, "max_passes must be a positive integer or None, received 0"),
        ({"max_passes": 1.5}, "max_passes must be"),
        ({"scope": "nope"}, "unknown scope"),
    ],
)
def test_bad_input(recorded, options, message):
    with pytest.raises(ValueError, match=message):
        kt.decompose(*recorded, verbose=0, **options)
