"""Tests of the tables and sections of the report on exploration, with pictures left out."""

import math

import pytest

from experiments.analysis import cells, exploration_summary
from experiments.reports import exploration_report, report


def _estimate(value, width=0.0):
    return {"value": value, "lower": value - width, "upper": value + width}


@pytest.fixture
def summary():
    quantities = {*exploration_summary.MEASURES, *exploration_summary.ENDS}
    rows = {
        "sgd:0.1": {name: _estimate(1.0, 0.5) for name in quantities} | {"diverged": 0, "runs": 2},
        "sgd_rms_normalized": {name: _estimate(math.nan) for name in quantities}
        | {"diverged": 1, "runs": 2},
    }
    claim = {"measure": "configurations", "outcome": "Taylor optimum", "p_value": 0.2}
    claim |= _estimate(-0.5, 0.25) | {"verdict": "undecided", "is_ranked": True}
    return {"optimizers": rows, "claims": [claim], "normalization": {}}


def test_tables_have_a_row_for_each_optimizer(summary):
    for table in (exploration_report.measure_table, exploration_report.end_table):
        header, rows = table(summary)
        assert [row[0] for row in rows] == ["sgd:0.1", "sgd rms normalized (1 of 2 diverged)"]
        assert all(len(row) == len(header) for row in rows)


def test_means_have_a_row_for_each_quantity(summary):
    header, rows = exploration_report.means_table(summary)
    assert len(header) == 3
    assert [row[0] for row in rows] == [*exploration_summary.MEASURES, *exploration_summary.ENDS]
    assert rows[0][1:] == ("1", cells.MISSING)


def test_claims_have_their_probability_and_verdict(summary):
    _, (row,) = exploration_report.claim_table(summary)
    assert row[:2] == ("Taylor optimum", "configurations")
    assert row[3:] == ("0.2", "undecided")


def test_the_effect_of_normalization_is_shown_where_there_is_one(summary, monkeypatch):
    monkeypatch.setattr(report, "picture", lambda description, *rest: description)

    def titles():
        return [section.title for section in exploration_report.sections([], summary)]

    assert "What RMS normalisation changes" not in titles()
    summary["normalization"] = {"R": _estimate(2.0)}
    assert "What RMS normalisation changes" in titles()
    _, rows = exploration_report.normalization_table(summary)
    assert rows[0][0] == "R"


def test_runs_without_an_optimum_are_told():
    runs = [
        {"optimizer": "sgd", "seed": 0, "diverged": True, "optimum": {}},
        {"optimizer": "adam", "seed": 1, "diverged": False, "optimum": {}},
        {"optimizer": "adam", "seed": 2, "diverged": False, "optimum": {"upper": 1.0}},
    ]
    assert exploration_report.notes(runs) == (
        "sgd, seed 0, diverged and has no optimum.",
        "adam, seed 1, has no optimum: its weights did not move in the recorded rounds "
        "(one is too few).",
    )
