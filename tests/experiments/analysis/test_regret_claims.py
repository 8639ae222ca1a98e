"""Tests of the evidence on the bound of regret and on its growth."""

import pytest

from experiments.analysis import estimates, regret_claims

HOLDS, FAILS, UNDECIDED = estimates.HOLDS, estimates.FAILS, estimates.UNDECIDED


def _rows(part, gap=0.0, rounds=(10, 100, 1000)):
    return [
        {"part": part, "rounds": n, "average_regret_lower": 1.0, "average_regret_upper": 1.0 + gap}
        for n in rounds
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
    (found,) = regret_claims.regret_growth("task", [_run(*rate)], "source")
    assert found.verdict == verdict
    assert found.source == "source/runs/0/decomposition/fixed_rates/network"


def test_a_gap_as_large_as_the_regret_leaves_growth_open():
    for rate, verdict in (((0.3, 0.4, 0.49), HOLDS), ((0.6, 0.7, 0.8), FAILS)):
        (narrow,) = regret_claims.regret_growth("task", [_run(*rate, gap=0.001)], "source")
        (wide,) = regret_claims.regret_growth("task", [_run(*rate, gap=1.0)], "source")
        assert (narrow.verdict, wide.verdict) == (verdict, UNDECIDED)


def test_a_short_window_contradicts_nothing():
    run = _run(0.6, 0.7, 0.8)
    run["decomposition"]["fixed"] = _rows("network", rounds=(10, 100, 999))
    (found,) = regret_claims.regret_growth("task", [run], "source")
    assert found.verdict == UNDECIDED


def test_layers_are_judged_together():
    run = _run(0.3, 0.4, 0.5)
    rates = {
        f"layer:{name}": {"slope": slope, "lower": slope - 0.1, "upper": slope + 0.1}
        for name, slope in {"low": 0.3, "between": 0.5, "high": 0.8}.items()
    }
    run["decomposition"]["fixed_rates"] = rates
    run["decomposition"]["fixed"] = [row for part in rates for row in _rows(part)]
    (found,) = regret_claims.regret_growth("task", [run], "source")
    assert found.subject == "sgd, layers"
    assert found.text == (
        "slope 0.30 (0.20…0.40) (low) to 0.80 (0.70…0.90) (high) at fixed R: "
        "1 holds, 1 undecided, 1 does not hold"
    )
    assert found.verdict == UNDECIDED, "one of three may be contrary by chance"
    del rates["layer:between"], rates["layer:high"]
    assert regret_claims.regret_growth("task", [run], "source")[0].verdict == HOLDS


def test_runs_without_a_slope_are_undecided():
    assert regret_claims.regret_growth("task", [{"optimizer": "a", "decomposition": {}}], "s") == []
    (found,) = regret_claims.regret_growth("task", [_run(None, None, None)], "s")
    assert (found.verdict, "too little positive regret" in found.text) == (UNDECIDED, True)


def test_regret_that_ends_at_or_below_zero_grows_no_faster_than_anything():
    run = _run(0.6, 0.7, 0.8)
    run["decomposition"]["fixed"][-1] |= {"average_regret_lower": -0.2, "average_regret_upper": 0.0}
    (found,) = regret_claims.regret_growth("task", [run], "source", ", from the middle")
    assert (found.verdict, found.subject) == (HOLDS, "sgd, from the middle")
    assert "at or below zero" in found.text


def test_growth_is_open_where_regret_may_be_above_or_below_zero():
    run = _run(0.6, 0.7, 0.8)
    run["decomposition"]["fixed"][0] |= {"average_regret_lower": -0.2, "average_regret_upper": 0.1}
    (found,) = regret_claims.regret_growth("task", [run], "source")
    assert found.verdict == UNDECIDED


def _live(network, layer, unit, rounds=(1, 10, 100)):
    def series(values):
        return {"relative_regret": values}

    return {
        "optimizer": "sgd",
        "progress": {"round": list(rounds)},
        "unit_progress": {"round": list(rounds)},
        "network": series(network),
        "layers": {"a": series(layer)},
        "units": {"a": series([[u, 0.0] for u in unit])},
        "decomposition": {},
    }


def test_linear_regret_below_its_guarantee_is_enough():
    run = _live([5.0, 0.9, 0.8], [5.0, 0.7, 1.0], [3.0, 0.2, 0.5])
    (found,) = regret_claims.guaranteed("task", [run], "source")
    assert (found.claim, found.verdict) == ("C1a", HOLDS), "the first rounds do not count"
    assert found.text == (
        "over guarantee at the end: network 0.8, layers 1, units 0…0.5; 2 of 2 never above it"
    )
    assert found.source == "source/runs/0/network"


@pytest.mark.parametrize("scope", ["network", "layer", "unit"])
def test_linear_regret_above_its_guarantee_decides_nothing(scope):
    values = {"network": [1.0] * 3, "layer": [1.0] * 3, "unit": [1.0] * 3}
    values[scope] = [1.0, 1.1, 1.0]
    (found,) = regret_claims.guaranteed("task", [_live(**values)], "source")
    assert found.verdict == UNDECIDED


@pytest.mark.parametrize(
    ("ends", "optimizer", "verdict", "text"),
    [
        ((-1.0, 1.8), "sgd", HOLDS, "1 holds, of 1 parts and N"),
        ((1.8, 2.2), "sgd", UNDECIDED, "1 undecided, of 1 parts and N"),
        # Above the guarantee for certain, which is tuned to N, but not above that of the rate.
        (
            (3.0, 4.0),
            "sgd",
            UNDECIDED,
            "1 undecided, of 1 parts and N; above it for certain 1, at 1.5 times it",
        ),
        (
            (12.0, 13.0),
            "sgd:0.1",
            FAILS,
            "1 does not hold, of 1 parts and N; above it for certain 1, at 6 times it",
        ),
        # For others it is a yardstick.
        (
            (12.0, 13.0),
            "adam",
            UNDECIDED,
            "1 undecided, of 1 parts and N; above it for certain 1, at 6 times it",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["parts", "units"])
def test_certified_regret_is_held_against_the_guarantee(ends, optimizer, verdict, text, kind):
    run = _live([2.0] * 3, [2.0] * 3, [2.0] * 3) | {"optimizer": optimizer, "learning_rate": 0.1}
    row = dict(zip(("average_regret_lower", "average_regret_upper"), ends, strict=True))
    # R = 4, N = 8 and G = (2 * 8 / 4)^2 = 16: (16 / 0.1 + 0.1 * 16) / 2 / 8 = 10.1.
    row |= {"average_guarantee": 2.0, "average_loss": 1.0, "radius": 4.0, "rounds": 8}
    run["decomposition"] = {kind: [row]}
    _, found = regret_claims.guaranteed("task", [run], "source")
    assert (found.verdict, found.text) == (verdict, text)
    assert found.source == f"source/runs/0/decomposition/{kind}"


def test_regret_of_a_part_that_did_not_move_is_rounding():
    run = _live([2.0] * 3, [2.0] * 3, [2.0] * 3) | {"learning_rate": 0.1}
    row = {"average_guarantee": 0.0, "average_loss": 10.0, "radius": 0.0, "rounds": 8}
    row |= {"average_regret_lower": 2.7e-7, "average_regret_upper": 2.8e-7}
    run["decomposition"] = {"units": [row]}
    assert regret_claims.guaranteed("task", [run], "source")[-1].verdict == HOLDS


@pytest.mark.parametrize("values", [[0.9, 0.8, None], [None] * 3])
def test_a_network_that_is_not_known_at_the_end_is_undecided(values):
    run = _live([float("nan") if v is None else v for v in values], [0.5] * 3, [0.5] * 3)
    (found,) = regret_claims.guaranteed("task", [run], "source")
    assert found.verdict == UNDECIDED


def test_runs_that_were_kept_before_the_guarantee_was_read_say_nothing_of_it():
    run = _live([], [], [])
    for series in (run["network"], *run["layers"].values(), *run["units"].values()):
        series.clear()
    row = {"average_regret_lower": 0.0, "average_regret_upper": 1.0}
    run["decomposition"] = {"parts": [row]}
    assert regret_claims.guaranteed("task", [run], "source") == []
