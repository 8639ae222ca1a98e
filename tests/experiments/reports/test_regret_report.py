"""Tests of the sections of the regret report, with pictures left out."""

import pytest

from experiments.analysis import regret_summary
from experiments.reports import regret_report, report

TRACKED = 1000


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    monkeypatch.setattr(report, "picture", lambda description, *rest: description)


def _sections(*runs):
    summaries = [regret_summary.summarize(run, TRACKED) for run in runs]
    return {section.title: section for section in regret_report.sections(runs, summaries, TRACKED)}


def test_the_advice_and_the_split_of_the_loss_come_first(make_run):
    found = _sections(make_run("sgd"))
    first = ["What the runs say about their learning rates", "Loss = Taylor optimum + regret"]
    assert list(found)[:2] == first
    assert all(
        len(row) == len(s.table.header) for s in found.values() if s.table for row in s.table.rows
    )


def test_each_layer_has_its_pictures(make_run):
    found = _sections(make_run("sgd"), make_run("adam"))
    assert len(found["Linear regret of the layers"].pictures) == 1
    assert len(found["Bounds of Taylor regret"].pictures) == 2
    assert all("layer a" in picture for picture in found["Layer by layer"].pictures)


def test_a_network_that_was_not_decomposed_has_no_empty_pictures(make_run):
    run = make_run("sgd")
    split = run["decomposition"]
    split["parts"] = [row for row in split["parts"] if row["part"] != "network"]
    split["rates"].pop("network", None)
    found = _sections(run)
    assert found["Loss = Taylor optimum + regret"].pictures == ()
    assert len(found["Linear regret of the network"].pictures) == 2
    assert found["Layer by layer"].pictures


def test_runs_without_comparators_have_no_pictures_of_their_bounds(make_run):
    found = _sections(make_run("sgd"), make_run("adam") | {"average_taylor_loss": {}})
    (picture,) = found["Bounds of Taylor regret"].pictures
    assert "of sgd" in picture


def test_wide_intervals_and_divergence_are_told(make_run):
    notes = _sections(make_run("sgd"), make_run("adam", diverged=True))
    notes = notes["Loss = Taylor optimum + regret"].paragraphs
    assert notes[0] == "sgd: the interval of layer:a is wider than the tolerance."
    assert notes[1].startswith("adam diverged: at round 1000")


def test_wide_intervals_of_units_are_counted(make_run):
    run = make_run("sgd")
    run["decomposition"]["units"] += [run["decomposition"]["units"][0] | {"converged": False}]
    notes = _sections(run)["Loss = Taylor optimum + regret"].paragraphs
    assert notes[0] == "sgd: the interval of layer:a, 1 of 2 units is wider than the tolerance."


def test_every_column_of_the_first_table_is_explained(make_run):
    header = _sections(make_run("sgd"))["Loss = Taylor optimum + regret"].table.header
    terms = " ".join(regret_report.HOW_TO_READ)
    assert all(column in terms for column in header if column not in ("optimizer", "regret slope"))


def test_layers_are_named_in_the_order_of_the_network(make_run):
    assert regret_report.layers_of([make_run("sgd"), make_run("adam")]) == ["a", "b"]


def test_a_run_of_one_round_says_why_it_has_no_decomposition(make_run):
    notes = _sections(make_run("sgd") | {"decomposition": {}})
    (note,) = notes["Loss = Taylor optimum + regret"].paragraphs
    assert note.startswith("sgd has no decomposition: it takes at least two rounds")


def test_divergence_before_the_recorded_rounds_is_told(make_run):
    run = make_run("sgd", diverged=True)
    run["progress"]["round"] = [0] * len(run["progress"]["round"])
    (note,) = _sections(run)["Loss = Taylor optimum + regret"].paragraphs
    assert "during the burn-in" in note
