"""Tests of optima over samples of a run, against the certified ones over all of its rounds."""

import math

import keras
import numpy as np
import pytest

import keras_taylor as kt

STEPS, BATCH = 120, 12
LOSSES = {
    "squared": keras.losses.MeanSquaredError,
    "cross-entropy": lambda: keras.losses.CategoricalCrossentropy(from_logits=True),
}


def _model(loss):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    hidden = keras.layers.Dense(4, "relu", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, name="out")(hidden))
    model.compile(keras.optimizers.SGD(0.1), loss=LOSSES[loss]())
    return model


def _batches():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(STEPS, BATCH, 5)).astype("float32")
    y = np.eye(3)[(x[..., :3] + 0.5 * generator.normal(size=(STEPS, BATCH, 3))).argmax(-1)]
    return list(zip(x, y, strict=True))


@pytest.fixture(scope="module", params=LOSSES)
def runs(request, tmp_path_factory):
    """The same run, recorded whole and as samples, with its loss."""
    path, runs = tmp_path_factory.mktemp("runs"), {}
    options = {"whole": {}, "sample": {"sample": 48}}
    if request.param == "squared":
        options["examples"] = {"sample": 60, "examples": 6}
    for name, sampling in options.items():
        runs[name] = kt.record(
            _model(request.param), _batches(), path / name, steps=STEPS, verbose=0, **sampling
        )
    return runs, _model(request.param)


@pytest.fixture(scope="module")
def tables(runs):
    trajectories, model = runs
    scope, options = ["network", "layer:hidden", "unit:out/1"], {"tolerance": 1e-4, "verbose": 0}
    tables = {}
    for name in trajectories:
        if name != "whole":
            # Of a sample of examples, one layer is enough.
            of = scope if name == "sample" else ["layer:hidden"]
            rounds = [15, 31, STEPS]
            tables[name] = kt.decompose(trajectories[name], model, of, rounds=rounds, **options)
    ends = sorted({row["rounds"] for table in tables.values() for row in table.rows})
    tables["whole"] = kt.decompose(trajectories["whole"], model, scope, rounds=ends, **options)
    return tables


def _by_part(table):
    return {(row["part"], row["rounds"]): row for row in table.rows}


def test_sampled_and_certified_answers_agree_within_their_errors(tables):
    """For the network, a layer and a unit, over prefixes of the run; within five errors."""
    whole = _by_part(tables["whole"])
    sampled = [table for name, table in tables.items() if name != "whole"]
    for place, row in (item for table in sampled for item in _by_part(table).items()):
        truth = whole[place]
        assert row["average_loss"] == pytest.approx(truth["average_loss"], rel=1e-6)
        assert math.isnan(row["average_linear_regret"])
        assert truth["average_linear_regret"] > 0
        assert row["radius"] == pytest.approx(truth["radius"], rel=1e-5)
        room = 5 * max(row["optimum_lower_error"], row["optimum_upper_error"])
        assert row["optimum_lower"] - room <= truth["optimum_upper"]
        assert row["optimum_upper"] + room >= truth["optimum_lower"]
        regret = row["average_loss"] - np.array([row["optimum_upper"], row["optimum_lower"]])
        found = [row["average_regret_lower"], row["average_regret_upper"]]
        np.testing.assert_allclose(found, regret)
        assert row["converged"]


def test_errors_shrink_where_more_is_kept(tables):
    """A prefix that is kept whole has none, unless its examples are a sample."""
    for row in tables["whole"].rows:
        assert row["optimum_lower_error"] == row["optimum_upper_error"] == 0.0
    for row in tables["sample"].rows:
        errors = [row["optimum_lower_error"], row["optimum_upper_error"]]
        assert all(errors) if row["rounds"] == STEPS else max(errors) >= 0
    if "examples" in tables:
        assert all(row["optimum_lower_error"] > 0 for row in tables["examples"].rows)


def test_regrets_are_those_of_the_check_sample(runs, tables):
    check = [round for round in runs[0]["sample"] if round.weight == 1.0 or round.is_check]
    regrets = tables["sample"].regrets["network", STEPS]
    assert len(regrets) == len(check)
    sums = sum(round.weight * regret for round, regret in zip(check, regrets, strict=True))
    row = _by_part(tables["sample"])["network", STEPS]
    quantile = (row["average_regret_upper"] - row["average_regret_lower"]) / 2
    assert row["average_regret_lower"] < sums / STEPS < row["average_regret_lower"] + 2 * quantile


def test_interval_widens_with_the_level(runs):
    trajectories, model = runs
    found = kt.taylor_optimum(trajectories["sample"], model, "layer:out", verbose=0)
    narrow, wide = found.interval(0.5), found.interval(0.99)
    assert wide[0] < narrow[0] < found.lower_bound
    assert found.value < narrow[1] < wide[1]
    for level in (0, 1, 1.5, -0.1, math.nan, True, "0.9"):
        with pytest.raises(ValueError, match="level must be a number between 0 and 1"):
            found.interval(level)
    whole = kt.taylor_optimum(trajectories["whole"], model, "layer:out", verbose=0)
    assert whole.interval(0.5) == whole.interval(0.99) == (whole.lower_bound, whole.value)


def test_another_loss_than_that_of_the_run_is_refused(runs):
    trajectories, model = runs
    for name in set(trajectories) - {"whole"}:
        with pytest.raises(ValueError, match="a sample is of the losses of a run"):
            kt.taylor_optimum(trajectories[name], model, loss="mae", verbose=0)


def test_horizons_are_ends_of_strata(runs):
    trajectories, model = runs
    table = kt.decompose(trajectories["sample"], model, "layer:out", rounds=[90], verbose=0)
    assert table.rows[0]["rounds"] in trajectories["sample"].sums.ends
    assert abs(table.rows[0]["rounds"] - 90) <= 10
    with pytest.raises(ValueError, match="expected numbers of trained rounds from 2 to 120"):
        kt.decompose(trajectories["sample"], model, rounds=[121], verbose=0)


def test_rate_of_a_sample_has_an_interval_around_that_of_the_run(tables):
    """Of parts whose regret is positive at every horizon."""
    whole = tables["whole"].rate()
    for part, rate in tables["sample"].rate().items():
        if math.isfinite(rate.slope) and math.isfinite(whole[part].slope):
            assert rate.lower - 0.05 <= whole[part].slope <= rate.upper + 0.05
    assert any(math.isfinite(rate.slope) for rate in tables["sample"].rate().values())
