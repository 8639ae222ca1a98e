"""Tests of training a task under a tracker."""

import keras
import numpy as np
import pytest

import keras_taylor as kt
from experiments.runs import callbacks, readings, rounds, training
from experiments.runs.settings import RegretSettings
from experiments.tasks import optimizers, tasks
from experiments.tasks.errors import UsageError


@pytest.fixture(scope="module")
def digits(data_dir):
    return tasks.examples(tasks.get("digits_classifier"), data_dir)


@pytest.fixture(scope="module")
def train(digits, look_less_often, tmp_path_factory):
    """Trains some rounds; with `horizons` it decomposes the loss too."""

    def run(name="adam", steps=50, burn_in=0, horizons=None, **options):
        with pytest.MonkeyPatch.context() as patch:
            if horizons is None:
                patch.setattr(training, "decompose", lambda *arguments, **options: {})
            else:
                # Tests of a decomposition look at nothing that is read on the way.
                look_less_often(patch)
            return training.train(
                tasks.get("digits_classifier"),
                digits,
                optimizers.parse(name),
                plan=rounds.Plan(burn_in, steps - burn_in),
                path=tmp_path_factory.mktemp("run") / name,
                tolerance=0.05,
                **{"parts": ("network",), "horizons": horizons or 1} | options,
            )

    return run


@pytest.fixture(scope="module")
def adam(train):
    """A run of Adam with 10 rounds of burn-in and 50 recorded ones."""
    return train(steps=60, burn_in=10)


@pytest.fixture(scope="module")
def sgd(train):
    """An epoch of SGD from another seed."""
    return train("sgd", steps=44, seed=3)


def test_a_run_says_what_was_asked_for_and_read(adam):
    run = adam
    assert run["optimizer"] == "adam"
    assert run["parameters"] == 6_570
    assert not run["diverged"]
    assert run["progress"]["steps"][-1] == 50
    taylor = {f"taylor_{kind}_{at}" for kind in ("loss", "regret") for at in readings.COMPARATORS}
    assert set(run["means"]) == {"loss", "accuracy"} | taylor
    assert set(run["final_means"]) == set(run["means"])
    assert run["means"]["loss"] == pytest.approx(run["progress"]["average_loss"][-1], rel=1e-5)
    assert list(run["layers"]) == ["hidden_1", "hidden_2", "logits"]
    assert [len(run["units"][layer]["linear_regret"][-1]) for layer in run["units"]] == [64, 32, 10]


def test_network_is_consistent_with_its_bound(adam):
    progress, network = adam["progress"], adam["network"]
    regret = np.array(network["linear_regret"]) / progress["steps"]
    bound = np.array(progress["average_loss"]) - regret
    np.testing.assert_allclose(network["optimum_lower_bound"], bound, rtol=1e-4, atol=1e-5)


def test_linear_regret_is_above_the_regret_at_the_initial_weights(adam):
    run = adam
    losses = np.array(run["progress"]["average_loss"])
    linear = np.array(run["network"]["linear_regret"]) / run["progress"]["steps"]
    regret = losses - np.array(run["average_taylor_loss"]["initial"])
    assert len(regret) == len(run["progress"]["round"])
    assert (regret <= linear + 1e-5).all()
    assert regret[0] == pytest.approx(0.0, abs=1e-5), "at round 1 the weights are the initial ones"


def test_every_optimizer_starts_from_the_same_loss(sgd, train):
    alike = train("adam", steps=2, seed=3, comparators=())
    assert alike["average_taylor_loss"] == {}
    losses = [run["progress"]["average_loss"][0] for run in (sgd, alike)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_runs_of_different_seeds_start_from_different_losses(sgd, adam):
    assert sgd["progress"]["average_loss"][0] != pytest.approx(adam["progress"]["average_loss"][0])


def test_training_is_that_of_the_bare_optimizer(digits, sgd):
    task = tasks.get("digits_classifier")
    keras.utils.set_random_seed(3)
    model = task.build_model()
    model.compile(optimizers.parse("sgd").build(), loss=task.build_loss())
    history = model.fit(tasks.batches(task, digits, seed=3), verbose=0, shuffle=False)
    assert sgd["progress"]["average_loss"][-1] == pytest.approx(
        history.history["loss"][0], rel=1e-5
    )


@pytest.mark.slow
def test_a_radius_bounds_more_the_larger_it_is(train):
    small, large = (train("sgd", steps=20, radius=radius) for radius in (0.1, 10.0))
    assert small["network"]["linear_regret"][-1] < large["network"]["linear_regret"][-1]


def test_divergence_is_a_result(data_dir, tmp_path):
    task = tasks.get("digits_autoencoder")
    examples = tasks.examples(task, data_dir)
    for burn_in in (0, 59):
        run = training.train(
            task,
            examples,
            optimizers.parse("sgd:1000"),
            plan=rounds.Plan(burn_in, 60 - burn_in),
            path=tmp_path / "run",
            comparators=(),
        )
        assert run["diverged"]
        assert run["progress"]["round"][-1] < 60
        assert run["decomposition"] == {}


def test_units_are_spread_over_each_layer():
    model = tasks.get("digits_classifier").build_model()
    found = training.spread_units(model)
    assert found[:2] == ["unit:hidden_1/21", "unit:hidden_1/42"]
    assert len(found) == 6
    assert len(training.spread_units(model, 1000)) == 64 + 32 + 10
    assert training.spread_units(model, 0) == []


def test_plan_of_settings(digits):
    task = tasks.get("digits_classifier")
    assert training.plan_of(task, digits, RegretSettings(epochs=2)) == rounds.Plan(0, 88)
    found = training.plan_of(task, digits, RegretSettings(epochs=2, max_steps=20, burn_in=5))
    assert found == rounds.Plan(5, 15)
    # A sample is of the whole run, unless it is said otherwise.
    settings = RegretSettings(epochs=10, sample=40, examples=8)
    assert training.plan_of(task, digits, settings) == rounds.Plan(0, 440, 40, 8)


def test_weights_that_are_no_number_are_divergence_however_finite_the_loss(
    data_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr(callbacks, "weights_are_finite", lambda model: False)
    task = tasks.get("digits_classifier")
    run = training.train(
        task,
        tasks.examples(task, data_dir),
        optimizers.parse("sgd"),
        plan=rounds.Plan(0, 5),
        path=tmp_path / "run",
        comparators=(),
    )
    assert run["diverged"]
    assert run["decomposition"] == {}


def test_regret_grows_at_one_radius_too(train):
    parts = ("network", "layer:logits")
    found = train(steps=60, burn_in=20, parts=parts, horizons=3)["decomposition"]
    assert list(found["fixed_rates"]) == list(found["rates"]) == list(parts)
    last = {row["part"]: row for row in found["parts"]}
    for row in found["fixed"]:
        assert row["radius"] == last[row["part"]]["radius"]
    assert [row for row in found["fixed"] if row["rounds"] == 40] == list(last.values())
    network = [row for row in found["fixed"] if row["part"] == "network"]
    assert [row["rounds"] for row in network] == [10, 20, 40]


@pytest.mark.slow
def test_regret_at_a_radius_is_that_of_a_shorter_run_at_it(train):
    found = train(steps=60, burn_in=20, horizons=3)["decomposition"]["fixed"]
    given = train(steps=40, burn_in=20, horizons=2, radius=found[-1]["radius"])["decomposition"]
    assert given["fixed"] == given["parts"]
    for fixed, row in zip(found[:2], given["fixed"], strict=True):
        assert row["rounds"] == fixed["rounds"]
        assert fixed["optimum_lower"] <= row["optimum_upper"]
        assert row["optimum_lower"] <= fixed["optimum_upper"]


def test_one_round_has_no_decomposition():
    assert training.decompose(None, None, 1) == {}


@pytest.mark.parametrize("part", ["nope", "layer:nope", "unit:logits/10", "layer:"])
def test_a_part_that_does_not_exist_is_refused(part):
    task = tasks.get("digits_classifier")
    training.check_parts(task, ("network", "layers", "units", "layer:logits", "unit:logits/9"))
    with pytest.raises(UsageError, match=rf"--parts=network,{part}: unknown .*(logits|units)"):
        training.check_parts(task, ("network", part))


def test_no_part_is_refused():
    with pytest.raises(UsageError, match="--parts is empty"):
        training.check_parts(tasks.get("digits_classifier"), ())


def test_an_interrupted_decomposition_is_no_finished_run(monkeypatch):
    """Else the rows so far would be kept as the whole run."""
    table = kt.Decomposition([], {})
    table.interrupted = True
    monkeypatch.setattr(kt, "decompose", lambda *arguments, **options: [table, table])
    with pytest.raises(KeyboardInterrupt):
        training.decompose(None, None, 10, parts=("network",))
