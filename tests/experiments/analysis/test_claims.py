"""Tests of what counts as evidence, and of what it says."""

import pytest

from experiments.analysis import claims, estimates

HOLDS, FAILS, UNDECIDED = estimates.HOLDS, estimates.FAILS, estimates.UNDECIDED


def _rows(part, gap=0.0):
    return [
        {"part": part, "rounds": n, "average_regret_lower": 1.0, "average_regret_upper": 1.0 + gap}
        for n in (10, 30, 100)
    ]


def _run(lower, slope, upper, gap=0.0):
    rate = {"slope": slope, "lower": lower, "upper": upper}
    rates = {"rates": {"network": rate}, "fixed_rates": {"network": rate}}
    return {"optimizer": "sgd", "decomposition": rates | {"fixed": _rows("network", gap)}}


@pytest.mark.parametrize(
    ("rate", "verdict"),
    [
        ((0.3, 0.4, 0.49), HOLDS),
        ((0.6, 0.7, 0.8), FAILS),
        ((0.4, 0.5, 0.6), UNDECIDED),
        ((None, 0.5, None), UNDECIDED),
    ],
)
def test_growth_is_judged_by_its_interval(rate, verdict):
    (found,) = claims.regret_growth("task", [_run(*rate)], "source")
    assert found.verdict == verdict
    assert found.source == "source/runs/0/decomposition/fixed_rates/network"


def test_a_gap_as_large_as_the_regret_leaves_growth_open():
    for rate, verdict in (((0.3, 0.4, 0.49), HOLDS), ((0.6, 0.7, 0.8), FAILS)):
        (narrow,) = claims.regret_growth("task", [_run(*rate, gap=0.001)], "source")
        (wide,) = claims.regret_growth("task", [_run(*rate, gap=1.0)], "source")
        assert (narrow.verdict, wide.verdict) == (verdict, UNDECIDED)


def test_layers_are_judged_together():
    run = _run(0.3, 0.4, 0.5)
    rates = {
        f"layer:{name}": {"slope": slope, "lower": slope - 0.1, "upper": slope + 0.1}
        for name, slope in {"low": 0.3, "between": 0.5, "high": 0.8}.items()
    }
    run["decomposition"]["fixed_rates"] = rates
    run["decomposition"]["fixed"] = [row for part in rates for row in _rows(part)]
    (found,) = claims.regret_growth("task", [run], "source")
    assert found.subject == "sgd, layers"
    assert found.text == (
        "slope 0.30 (0.20…0.40) (low) to 0.80 (0.70…0.90) (high) at fixed R: "
        "1 holds, 1 undecided, 1 does not hold"
    )
    assert found.verdict == UNDECIDED, "one of three may be contrary by chance"
    del rates["layer:between"], rates["layer:high"]
    assert claims.regret_growth("task", [run], "source")[0].verdict == HOLDS


def test_runs_without_a_slope_are_undecided():
    assert claims.regret_growth("task", [{"optimizer": "a", "decomposition": {}}], "s") == []
    (found,) = claims.regret_growth("task", [_run(None, None, None)], "s")
    assert (found.verdict, "too little positive regret" in found.text) == (UNDECIDED, True)


def _summary(name, loss, optimum, gap):
    row = {
        "average_loss": loss,
        "optimum_lower": optimum - gap,
        "optimum_upper": optimum,
        "average_regret_lower": loss - optimum,
        "average_regret_upper": loss - optimum + gap,
    }
    return {"optimizer": name, "decomposition": {"parts": {"network": row}}}


def test_loss_is_explained_where_the_intervals_are_apart():
    summaries = [_summary("sgd", 10.0, 8.0, 0.1), _summary("adam", 4.0, 3.0, 0.1)]
    (found,) = claims.explained_loss("task", summaries, "source")
    assert (found.subject, found.verdict) == ("sgd", HOLDS)
    assert "behind adam by 6: optimum 4.9…5.1, regret 0.9…1.1; mostly the optimum" in found.text
    summaries = [_summary("sgd", 10.0, 8.0, 5.0), _summary("adam", 4.0, 3.0, 5.0)]
    assert claims.explained_loss("task", summaries, "source")[0].verdict == UNDECIDED
    assert claims.explained_loss("task", summaries[:1], "source") == []
    summaries[0]["decomposition"]["parts"]["network"]["optimum_upper"] = None
    (found,) = claims.explained_loss("task", summaries, "source")
    assert (found.verdict, "no pass left" in found.text) == (UNDECIDED, True)


def _shattering(kind, means):
    return [
        {"kind": kind, "depth": depth, "autocorrelation": [[1.0, mean]]}
        for depth, mean in enumerate(means, start=1)
        for _ in range(3)
    ]


def test_shattering_has_controls():
    runs = _shattering("relu", [0.5, 0.4, 0.3, 0.2, 0.1]) + _shattering("linear", [1.0] * 5)
    relu, linear = claims.shattering(runs, "source")
    assert relu.verdict == HOLDS
    assert linear.verdict == "control"
    assert linear.text == "the same autocorrelation at every depth"


def _exploration(more, lower):
    def estimate(value):
        return {"value": value, "lower": value - 0.1, "upper": value + 0.1}

    rank = estimate(-1.0) | {"p_value": 0.01, "verdict": HOLDS, "measure": "switches a rectifier"}
    return {
        "normalization": {
            "switches a rectifier": estimate(more),
            "Taylor optimum": estimate(lower),
        },
        "claims": [
            rank | {"outcome": "Taylor optimum"},
            rank | {"measure": "other", "outcome": "x"},
        ],
    }


@pytest.mark.parametrize(
    ("more", "lower", "verdict"),
    [(1, -1, HOLDS), (-1, 1, FAILS), (1, 1, FAILS), (0, -1, UNDECIDED)],
)
def test_normalisation_has_to_explore_more_and_reach_lower(more, lower, verdict):
    effect, rank = claims.exploring("task", _exploration(more, lower), "source")
    assert effect.verdict == verdict
    assert rank.source == "source/summary/claims/0"


def test_adaptive_optimizers_have_to_end_lower():
    tuned = {
        "sgd": {"by_seed": [1.0, 1.1, 0.9]},
        "momentum": {"by_seed": [0.1, 0.1, 0.1]},
        "adagrad": {"by_seed": [1.5, 1.65, 1.38]},
        "rmsprop": {"by_seed": [1.2, 0.9, 0.9]},
        "adam": {"by_seed": [0.5, 0.62, 0.41]},
    }
    found = claims.better_solutions("task", tuned, "source")
    verdicts = {piece.subject.split(" ")[0]: piece.verdict for piece in found}
    assert verdicts == {"adagrad": FAILS, "rmsprop": UNDECIDED, "adam": HOLDS}
    assert found[2].source == "source/summary/adam/by_seed"
    assert "final training loss -0.49 (" in found[2].text
    tuned["adam"]["by_seed"] = []
    assert len(claims.better_solutions("task", tuned, "source")) == 2, "all of its runs diverged"
    assert claims.better_solutions("task", {}, "source") == []


def test_claims_together():
    assert claims.together([HOLDS, HOLDS, "control"]) == HOLDS
    assert claims.together([HOLDS, FAILS]) == claims.together([FAILS]) == FAILS
    assert claims.together([HOLDS, FAILS, UNDECIDED]) == UNDECIDED
    assert claims.together([FAILS] * 2 + [HOLDS] * 12 + ["control"]) == FAILS
    assert claims.together([FAILS] * 2 + [HOLDS] * 13) == UNDECIDED
    assert claims.together([HOLDS, UNDECIDED]) == UNDECIDED
    pieces = [
        claims.Evidence("C1", "t", "s", "x", HOLDS, "r"),
        claims.Evidence("C1", "t", "s", "x", FAILS, "r"),
        claims.Evidence("C3", "t", "s", "x", HOLDS, "r"),
    ]
    rows = {row[0]: row[2:] for row in claims.table(pieces)[1]}
    assert rows["C1"] == (FAILS, "1 holds, 1 does not hold")
    assert rows["C2"] == ("not measured", "–")
    assert rows["C3"] == (HOLDS, "1 holds")
