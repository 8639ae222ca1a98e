"""Tests of tables on the terminal."""

from experiments.reports import formatting


def test_a_table_fits_a_narrow_terminal_and_cuts_no_number(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    header = ("optimizer", *(f"a long heading, number {index}" for index in range(4)))
    rows = [("sgd", *["0.50 (0.4…0.6)"] * 4)]
    formatting.print_table("title", header, rows)
    printed = capsys.readouterr().out
    assert printed.count("0.50 (0.4…0.6)") == 4
    assert max(map(len, printed.splitlines())) <= 80


def test_measurements_are_rows_of_names_and_numbers(capsys):
    formatting.print_measurements("title", [{"network": "convnet", "plain_step": 1.23456}])
    printed = capsys.readouterr().out
    assert "title" in printed
    assert "convnet" in printed
    assert "1.23" in printed
    assert "1.234" not in printed
