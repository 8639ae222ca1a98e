"""Tests of the tables of the regret report."""

import pytest

from experiments.analysis import cells, regret_summary
from experiments.reports import regret_tables

TRACKED = 1000


@pytest.fixture
def summaries(make_run):
    runs = [make_run("sgd"), make_run("adam", diverged=True)]
    return [regret_summary.summarize(run, TRACKED) for run in runs]


def test_network_table_has_a_row_for_each_optimizer(summaries):
    header, rows = regret_tables.network_table(summaries)
    assert [row[0] for row in rows] == ["sgd", "adam (diverged)"]
    assert all(len(row) == len(header) for row in rows)
    assert rows[0][1:] == ("1.001", "0.9694", "0.03162", "0.50 ± 0.00", "1")


def test_decomposition_table_has_a_row_for_each_optimizer(summaries):
    header, rows = regret_tables.decomposition_table(summaries)
    assert all(len(row) == len(header) for row in rows)
    expected = ("sgd", "1", "0.984…0.985", "0.0158…0.0174", "0.0316", "0.50 (0.40…0.60)")
    assert rows[0] == expected
    assert rows[1] == ("adam (diverged)", "1.001", *[cells.MISSING] * 4)


def test_advice_is_that_of_the_network_and_of_layers_unlike_it(summaries):
    header, rows = regret_tables.advice_table(summaries)
    assert header == ("optimizer", "advice", "learning rate", "suggested rate")
    assert rows[0] == ("sgd", "raise about 4 times", "0.01", "0.04")
    assert regret_tables.layer_advice(summaries)[0] == "sgd, layer a: lags about 4 times."


def test_runs_without_a_diagnosis_have_no_advice(summaries):
    earlier = [{key: item[key] for key in item if key != "diagnosis"} for item in summaries]
    assert regret_tables.advice_table(earlier)[1] == []
    assert regret_tables.layer_advice(earlier) == ()


def test_step_tables_have_network_and_layers(summaries):
    header, rows = regret_tables.step_table(summaries)
    assert all(len(row) == len(header) for row in rows)
    assert [row[:2] for row in rows[:3]] == [("sgd", part) for part in ("network", "a", "b")]
    assert rows[1][2:] == ("15.8", "31.6", "0.5", "1.5")
    header, rows = regret_tables.network_step_table(summaries)
    assert header[0] == "optimizer"
    assert rows[0] == ("sgd", "31.6", "31.6", "1", "1.5")


def test_part_tables_have_a_row_for_each_part_and_optimizer(summaries, make_run):
    header, rows = regret_tables.split_layer_table(summaries)
    assert [row[:3] for row in rows] == [("a", "sgd", "0.5")]
    assert all(len(row) == len(header) for row in rows)
    assert rows[0][-1] == cells.MISSING
    runs = [make_run("sgd"), make_run("adam"), make_run("lion", diverged=True)]
    header, rows = regret_tables.unit_table(runs)
    assert [row[:3] for row in rows] == [("a/1", "sgd", "0.5"), ("a/1", "adam", "0.5")]
    assert all(len(row) == len(header) for row in rows)


def test_of_many_units_the_table_has_the_least_the_middle_and_the_greatest_regret(make_run):
    run = make_run("sgd")
    unit = run["decomposition"]["units"][0]
    regrets = (0.4, 0.1, 0.3, 0.5, 0.2)
    run["decomposition"]["units"] = [
        {**unit, "part": f"unit:a/{number}", "average_regret_upper": regret}
        for number, regret in enumerate(regrets)
    ] + [{**unit, "part": "unit:b/7"}]
    _, rows = regret_tables.unit_table([run])
    assert [row[0] for row in rows] == ["a/1", "a/2", "a/3", "b/7"]


def test_sandwich_table_of_runs_without_comparators(summaries):
    bare = [summaries[0] | {"average_taylor_regret": {}}]
    _, ((_, *missing, regret, linear),) = regret_tables.sandwich_table(bare)
    assert missing == [cells.MISSING] * 2
    assert (regret, linear) == regret_tables.sandwich_table(summaries)[1][0][3:]


def test_sandwich_table_has_the_lower_bound_before_the_upper(summaries):
    header, rows = regret_tables.sandwich_table(summaries)
    assert all(len(row) == len(header) for row in rows)
    assert rows[0] == ("sgd", "-0.499", "0.501", "0.0158…0.0174", "0.03162")
    assert rows[1][3] == cells.MISSING


def test_layer_table_has_a_row_for_each_layer_and_optimizer(summaries):
    header, rows = regret_tables.layer_table(summaries)
    assert [row[0] for row in rows] == ["a", "a", "b", "b"]
    assert all(len(row) == len(header) for row in rows)
    assert rows[2][4] == cells.MISSING


def test_run_table(summaries):
    header, rows = regret_tables.run_table(summaries)
    assert header[-2:] == ("loss", "final loss")
    assert rows[0] == ("sgd", "0.01", "1000", "1", "2", "1", "0.75")
