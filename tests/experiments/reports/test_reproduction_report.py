"""Tests of putting experiments together in one report, without their runs."""

import pytest

from experiments.analysis import comparison_summary
from experiments.reports import report, reproduction_report


def _runs(*seconds):
    return {"runs": [{"seconds": value, "environment": {"python": "3"}} for value in seconds]}


@pytest.fixture
def by_task():
    split = {"runs": [{"wall_seconds": 2.0, "solve_seconds": 3.0, "environment": {"python": "4"}}]}
    return {"digits": {"comparison": _runs(1.0, 4.0), "decomposition": split}}


def test_seconds_are_those_of_training_and_solving(by_task):
    assert reproduction_report.seconds_of(by_task, _runs(10.0)) == {
        "digits, comparison": 5.0,
        "digits, decomposition": 5.0,
        "shattering": 10.0,
        "together": 20.0,
    }


def test_versions_of_all_runs_are_told(by_task):
    assert reproduction_report._environment(by_task, _runs(1.0)) == {"python": "3; 4"}


def test_markdown_has_tables_terms_and_names():
    sections = [
        report.Section("First", ("A text.",), table=report.Table(("a", "b"), [("x|y", 1)])),
        report.Section("Second", terms={"term": "what it means"}, names={"seed": 0}),
    ]
    assert reproduction_report.markdown("Title", "Lead.", sections).splitlines() == [
        "# Title",
        "",
        "Lead.",
        "",
        "## First",
        "",
        "A text.",
        "",
        "| a | b |",
        "| --- | --- |",
        "| x\\|y | 1 |",
        "",
        "## Second",
        "",
        "**term**: what it means",
        "",
        "- seed: 0",
    ]


def test_the_best_runs_are_those_at_the_tuned_rates():
    runs = [
        {"optimizer": name, "learning_rate": rate}
        for name in ("sgd", "adam")
        for rate in (0.1, 1.0)
    ]
    tuned = {"runs": runs, "summary": {"sgd": {"best_rate": 1.0}, "adam": {"best_rate": 0.1}}}
    assert reproduction_report._best(tuned) == [runs[1], runs[2]]


def test_sections_are_titled_by_their_task():
    (found,) = reproduction_report._titled("digits", [report.Section("Runs")])
    assert found.title == "digits: Runs"


def test_a_task_whose_runs_all_diverged_has_its_comparison():
    run = {"optimizer": "sgd", "learning_rate": 1.0, "seed": 0, "diverged": True, "steps": 5}
    run |= {"final_loss": None, "metrics": {}, "loss_rounds": [1], "losses": [None], "seconds": 1.0}
    tuned = {"grid": [run], "runs": [run], "summary": comparison_summary.summarize([run], [])}
    of_task = {"comparison": tuned}
    titles = [section.title for section in reproduction_report._task_sections("digits", of_task)]
    assert titles == ["digits: Tuned optimizers", "digits: How to read it", "digits: All rates"]
    pictures = reproduction_report._pictures({"digits": of_task}, _runs())
    assert list(pictures) == ["half_widths"]
    assert reproduction_report.evidence_of({"digits": of_task}, _runs()) == []
