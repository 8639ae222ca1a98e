"""Tests of the numbers behind a figure."""

import base64
import csv
import io

import numpy as np
import pytest

from experiments.analysis import regret_summary
from experiments.reports import drawing, exploration_report, plot_data, regret_figures


def _read(figure):
    head, _, encoded = plot_data.csv_uri(figure).partition(";base64,")
    assert head == "data:text/csv;charset=utf-8"
    return list(csv.DictReader(io.StringIO(base64.b64decode(encoded).decode("utf-8"))))


def test_lines_with_bands_and_gaps():
    figure, panels = drawing.subplots(2)
    drawing.line(panels[0], 0, "sgd", [1, 2], [0.5, np.nan], [0.4, 0.3], [0.6, 0.7])
    drawing.line(panels[1], 0, "adam, with a comma", [3], [0.25])
    for axes, title in zip(panels, ("left", "right"), strict=True):
        axes.set(title=title)
    names = ("panel", "series", "x", "y", "y_lower", "y_upper")
    rows = [
        ("left", "sgd", "1", "0.5", "0.4", "0.6"),
        ("left", "sgd", "2", "", "0.3", "0.7"),
        ("right", "adam, with a comma", "3", "0.25", "", ""),
    ]
    assert _read(figure) == [dict(zip(names, row, strict=True)) for row in rows]


def test_a_figure_without_data_has_no_rows():
    figure, _ = drawing.subplots(1)
    assert _read(figure) == []


def test_points_with_intervals_both_ways():
    estimate = {"value": 1.0, "lower": 0.5, "upper": 1.5}
    figure = exploration_report.scatter_figure({"sgd": {"a": estimate, "b": estimate}}, "a", "b")
    (row,) = _read(figure)
    ends = {f"{name}_{end}": str(estimate[end]) for name in "xy" for end in ("lower", "upper")}
    assert row == {"panel": "b against a", "series": "sgd", "x": "1.0", "y": "1.0"} | ends
    known = {"a": estimate, "b": estimate, "least": {"value": 0.0, "lower": -1.0, "upper": 1.0}}
    (row,) = _read(exploration_report.scatter_figure({"sgd": known}, "a", "b", "least"))
    assert (row["y_lower"], row["y_upper"]) == ("-1.0", "1.5")


@pytest.mark.parametrize("part", ["network", "layer:a"])
def test_pictures_of_a_decomposition_have_its_numbers(make_run, part):
    runs = [make_run("sgd")]
    summaries = [regret_summary.summarize(run, 1000) for run in runs]
    row = summaries[0]["decomposition"]["parts"][part]
    optimum, regret = _read(regret_figures.decomposition_figure(summaries, part))
    assert (optimum["series"], optimum["x"]) == ("optimum", "sgd")
    assert float(optimum["y_lower"]) == row["optimum_lower"]
    assert float(regret["y_upper"]) == row["average_regret_upper"]
    grown = _read(regret_figures.growth_figure(runs, part))
    last = [found for found in grown if found["series"] == "sgd"][-1]
    assert float(last["x"]) == row["rounds"]
    assert float(last["y_lower"]) == pytest.approx(row["average_regret_lower"] * row["rounds"])
