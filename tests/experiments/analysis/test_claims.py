"""Tests of what counts as evidence, and of what it says."""

import pytest

from experiments.analysis import claims, estimates
from experiments.analysis.evidence import Evidence

HOLDS, FAILS, UNDECIDED = estimates.HOLDS, estimates.FAILS, estimates.UNDECIDED


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
    rank["is_ranked"] = True
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


def test_table_has_a_row_for_each_claim():
    pieces = [
        Evidence("C1a", "t", "s", "x", HOLDS, "r"),
        Evidence("C1a", "t", "s", "x", FAILS, "r"),
        Evidence("C3", "t", "s", "x", HOLDS, "r"),
    ]
    rows = {row[0]: row[2:] for row in claims.table(pieces)[1]}
    assert rows["C1a"] == (FAILS, "1 holds, 1 does not hold")
    assert rows["C1b"] == rows["C2"] == ("not measured", "–")
    assert rows["C3"] == (HOLDS, "1 holds")
