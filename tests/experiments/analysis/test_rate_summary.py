"""Tests of what advice on rates comes to."""

import math

import pytest

from experiments.analysis import rate_summary


def _run(rate, loss, factor):
    verdict = {None: "too few rounds", 1.0: "fits"}.get(factor, "raise" if factor else "")
    return {
        "learning_rate": rate,
        "final_loss": loss,
        "factor": factor,
        "verdict": verdict,
        "gradient_agreement": 2.0,
        "step_ratio": None,
    }


def _case(factors=(10.0, 1.0, 0.5), losses=(8.0, 2.0, None), after=(2.1, 2.0, 4.0)):
    rates = (0.01, 0.1, 1.0)
    ways = {name: {"learning_rate": 0.1, "final_loss": None} for name in rate_summary.OTHERS}
    return {
        "optimizer": "sgd",
        "seed": 0,
        "grid": [_run(*row) for row in zip(rates, losses, factors, strict=True)],
        "advised": [
            {"begin": rate, "suggestions": [0.5], "final_loss": loss}
            for rate, loss in zip(rates, after, strict=True)
        ],
        "others": ways | {"default": {"learning_rate": 0.1, "final_loss": 3.0}},
    }


@pytest.mark.parametrize(
    ("rate", "factor", "direction"),
    [
        (0.01, 4.0, "right"),
        (0.01, 0.3, "wrong"),
        (1.0, 0.3, "right"),
        (1.0, 4.0, "wrong"),
        (1.0, 1.0, "fits"),
        (1.0, None, "none"),
    ],
)
def test_directions(rate, factor, direction):
    assert rate_summary.direction(_run(rate, 1.0, factor), 0.1) == direction


def test_a_summary_counts_what_is_far_and_what_is_near():
    found = rate_summary.summarize([_case()])["sgd"]
    assert (found["begins"], found["far"]) == (3, 2)
    assert (found["right_or_fits"], found["right"], found["wrong_when_very_far"]) == (1, 1, 0)
    assert found["before"] == {"within": pytest.approx(1 / 3), "median": 4.0}
    assert found["advised"] == {"within": pytest.approx(2 / 3), "median": 1.05}
    assert found["default"] == {"within": 0, "median": 1.5}
    assert found["range_minimum"]["median"] == math.inf


def test_wrong_ways_are_counted():
    summary = rate_summary.summarize([_case(factors=(0.3, 1.0, 1.0))])
    found = summary["all"]
    assert (found["right_or_fits"], found["right"], found["wrong_when_very_far"]) == (0.5, 0, 1)


def test_a_case_where_all_diverged_has_no_rows():
    case = _case(losses=(None, None, None))
    assert rate_summary.rows(case) == []
    found = rate_summary.summarize([case])["sgd"]
    assert found["begins"] == 0
    assert math.isnan(found["right"])
    assert math.isnan(found["default"]["median"])


def test_rows_have_the_columns():
    assert all(tuple(row) == rate_summary.COLUMNS for row in rate_summary.rows(_case()))
