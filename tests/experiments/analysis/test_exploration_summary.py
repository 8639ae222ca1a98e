"""Tests of summaries of exploration."""

import math

import pytest

from experiments.analysis import estimates, exploration_summary


def run_of(optimizer, seed, switches, optimum):
    """Returns a run with known switches and optimum."""
    return {
        "optimizer": optimizer,
        "seed": seed,
        "diverged": False,
        "steps": [0, 10, 20],
        "loss_rounds": [10, 20],
        "losses": [2.0, 1.0],
        "means": {"loss": optimum + 0.5},
        "measures": {
            "switches_per_unit": [0.0, switches / 2, switches],
            "activation_hamming": [None, 0.1, 0.3],
            "nearest_hamming": [None, 0.1, 0.2],
            "distinct_configurations": [1, 2, 3],
            "dead_units": [0.0, 0.0, 0.25],
        },
        "snr_median": {"gradients": 0.3},
        "optimum": {
            "lower": optimum - 0.2,
            "upper": optimum,
            "average_regret_lower": 0.5,
            "radius": 2.0,
        },
    }


@pytest.fixture
def runs():
    table = {"sgd:0.1": (1.0, 5.0), "adam": (2.0, 4.0), "lion": (2.5, 3.5), "rmsprop": (3.0, 3.0)}
    table |= {"sgd_rms_normalized": (4.0, 2.0)}
    return [
        run_of(name, seed, switches + 0.1 * seed, optimum - 0.1 * seed)
        for name, (switches, optimum) in table.items()
        for seed in range(2)
    ]


def test_means_are_over_seeds(runs):
    row = exploration_summary.summarize(runs)["optimizers"]["adam"]
    assert row["switches a rectifier"]["value"] == pytest.approx(2.05)
    assert row["Taylor optimum"]["value"] == pytest.approx(3.95)
    assert row["average regret"]["value"] == 0.5
    assert row["distance between snapshots"]["value"] == pytest.approx(0.2)
    assert (row["runs"], row["diverged"]) == (2, 0)


def test_a_strict_order_of_five_optimizers_holds(runs):
    claims = exploration_summary.summarize(runs)["claims"]
    (found,) = (
        claim
        for claim in claims
        if (claim["measure"], claim["outcome"]) == ("switches a rectifier", "Taylor optimum")
    )
    assert found["value"] == pytest.approx(-1.0)
    assert found["verdict"] == estimates.HOLDS


@pytest.mark.parametrize("lower", [2.0, None])
def test_optima_whose_intervals_overlap_have_no_order(runs, lower):
    runs[2]["optimum"]["lower"] = lower
    for claim in exploration_summary.summarize(runs)["claims"]:
        assert claim["is_ranked"] == (claim["outcome"] == "average loss")
        assert claim["is_ranked"] or claim["verdict"] == estimates.UNDECIDED


def test_the_difference_of_two_optima_is_an_interval(runs):
    """Of -3 at the upper ends, and each optimum may be 0.2 lower."""
    found = exploration_summary.summarize(runs)["normalization"]["Taylor optimum"]
    assert [found[name] for name in ("value", "lower", "upper")] == pytest.approx([-3, -3.2, -2.8])


def test_normalization_is_paired_by_seed_and_finds_rates_behind_a_colon(runs):
    effect = exploration_summary.summarize(runs)["normalization"]
    found = effect["switches a rectifier"]
    ends = [found[name] for name in ("value", "lower", "upper")]
    assert ends == pytest.approx([3.0, 3.0, 3.0])
    assert exploration_summary.summarize(runs[2:])["normalization"] == {}


def test_an_optimum_that_is_missing_is_left_out(runs):
    for run in runs[:2]:
        run["optimum"] = {}
    found = exploration_summary.summarize(runs)
    assert math.isnan(found["optimizers"]["sgd:0.1"]["Taylor optimum"]["value"])
    assert found["claims"][0]["p_value"] == pytest.approx(2 / 24, rel=1e-6)


def test_long_rows_have_measures_losses_and_ends(runs):
    rows = list(exploration_summary.long_rows(runs[0]))
    assert all(tuple(row) == exploration_summary.COLUMNS for row in rows)
    assert len(rows) == 5 * 3 + 2 + len(exploration_summary.ENDS)
    assert [row["value"] for row in rows if row["measure"] == "Taylor optimum"] == [5.0]
