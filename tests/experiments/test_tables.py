"""Tests of the tables of results."""

import pytest

from experiments import summary, tables

TRACKED = 1000


@pytest.fixture
def summaries(make_run):
    runs = [make_run("sgd"), make_run("adam", diverged=True)]
    return [summary.summarize(run, TRACKED) for run in runs]


def test_network_table_has_a_row_for_each_optimizer(summaries):
    header, rows = tables.network_table(summaries)
    assert [row[0] for row in rows] == ["sgd", "adam (diverged)"]
    assert all(len(row) == len(header) for row in rows)
    assert rows[0][1:] == ("1.001", "0.9694", "0.03162", "0.50 ± 0.00", "1")


def test_sandwich_table_has_the_lower_bound_before_the_upper(summaries):
    header, rows = tables.sandwich_table(summaries)
    assert all(len(row) == len(header) for row in rows)
    assert rows[0] == ("sgd", "-0.499", "0.501", "0.03162")


def test_layer_table_has_a_row_for_each_layer_and_optimizer(summaries):
    header, rows = tables.layer_table(summaries)
    assert [row[0] for row in rows] == ["a", "a", "b", "b"]
    assert all(len(row) == len(header) for row in rows)
    assert rows[2][4] == tables.MISSING


def test_run_table(summaries):
    header, rows = tables.run_table(summaries)
    assert header[-1] == "loss"
    assert rows[0] == ("sgd", "0.01", "1000", "1", "1")


def test_missing_numbers_are_a_dash():
    assert tables.number(None) == tables.MISSING
    assert tables.number(0.000123456) == "0.0001235"


def test_printing_fits_a_narrow_terminal(capsys, monkeypatch, summaries):
    monkeypatch.setenv("COLUMNS", "80")
    tables.print_table("title", *tables.network_table(summaries))
    printed = capsys.readouterr().out
    assert "0.50 ± 0.00" in printed
    assert max(map(len, printed.splitlines())) <= 80
