"""Tests of the tables of results."""

import pytest

from experiments.analysis import summary
from experiments.reports import formatting

TRACKED = 1000


@pytest.fixture
def summaries(make_run):
    runs = [make_run("sgd"), make_run("adam", diverged=True)]
    return [summary.summarize(run, TRACKED) for run in runs]


def test_network_table_has_a_row_for_each_optimizer(summaries):
    header, rows = formatting.network_table(summaries)
    assert [row[0] for row in rows] == ["sgd", "adam (diverged)"]
    assert all(len(row) == len(header) for row in rows)
    assert rows[0][1:] == ("1.001", "0.9694", "0.03162", "0.50 ± 0.00", "1")


def test_decomposition_table_has_a_row_for_each_optimizer(summaries):
    header, rows = formatting.decomposition_table(summaries)
    assert all(len(row) == len(header) for row in rows)
    expected = ("sgd", "1", "0.984…0.985", "0.0158…0.0174", "0.0316", "0.50 (0.40…0.60)")
    assert rows[0] == expected
    assert rows[1] == ("adam (diverged)", "1.001", *[formatting.MISSING] * 4)


def test_part_tables_have_a_row_for_each_part_and_optimizer(summaries):
    header, rows = formatting.part_table(summaries, "layer")
    assert [row[:3] for row in rows] == [("a", "sgd", "0.5")]
    assert all(len(row) == len(header) for row in rows)
    assert rows[0][-1] == formatting.MISSING
    header, rows = formatting.part_table(summaries, "unit")
    assert [row[0] for row in rows] == ["a/1"]
    assert all(len(row) == len(header) for row in rows)


def test_interval_with_ends_that_read_the_same():
    assert formatting.interval(1.0001, 1.0002) == "1"
    assert formatting.interval(1.001, 1.02) == "1…1.02"


def test_sandwich_table_has_the_lower_bound_before_the_upper(summaries):
    header, rows = formatting.sandwich_table(summaries)
    assert all(len(row) == len(header) for row in rows)
    assert rows[0] == ("sgd", "-0.499", "0.501", "0.0158…0.0174", "0.03162")
    assert rows[1][3] == formatting.MISSING


def test_layer_table_has_a_row_for_each_layer_and_optimizer(summaries):
    header, rows = formatting.layer_table(summaries)
    assert [row[0] for row in rows] == ["a", "a", "b", "b"]
    assert all(len(row) == len(header) for row in rows)
    assert rows[2][4] == formatting.MISSING


def test_run_table(summaries):
    header, rows = formatting.run_table(summaries)
    assert header[-1] == "loss"
    assert rows[0] == ("sgd", "0.01", "1000", "1", "2", "1")


def test_missing_numbers_are_a_dash():
    assert formatting.number(None) == formatting.MISSING
    assert formatting.number(0.000123456) == "0.0001235"


def test_printing_fits_a_narrow_terminal(capsys, monkeypatch, summaries):
    monkeypatch.setenv("COLUMNS", "80")
    formatting.print_table("title", *formatting.network_table(summaries))
    formatting.print_table("title", *formatting.decomposition_table(summaries))
    printed = capsys.readouterr().out
    assert "0.50 ± 0.00" in printed
    assert "0.50 (0.40…0.60)" in printed
    assert max(map(len, printed.splitlines())) <= 80
