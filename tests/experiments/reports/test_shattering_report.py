"""Tests of the tables and figures of the report on shattered gradients."""

import math

import numpy as np
import pytest

from experiments.analysis import estimates
from experiments.reports import report, shattering_report


def _run(kind, depth, seed, level):
    return {
        "kind": kind,
        "depth": depth,
        "seed": seed,
        "lags": [0.0, 0.5],
        "autocorrelation": [[1.0, level], [1.0, level]],
        "half_widths": [0.4, None] if kind == "linear" else [level / 2, level / 2],
        "by_layer": {"dense": [1.0, level], "dense_1": [1.0, level]},
        "distances": [0.1, 1.0],
        "input_correlation": [0.9, level],
        "weight_correlation": [0.8, level],
    }


LEVELS = {1: 0.9, 2: 0.7, 5: 0.5, 10: 0.3, 20: 0.1}


@pytest.fixture
def runs():
    return [_run("relu", depth, 0, level) for depth, level in LEVELS.items()]


def test_widths_are_by_kind_and_depth_and_may_be_infinite():
    summary = {"relu": {"1": {"value": 0.25}, "2": {"value": math.inf}}}
    header, rows = shattering_report.width_table(summary)
    assert header == ("network", "depth 1", "depth 2")
    assert rows == [("relu", "0.25", "∞")]


def test_trends_say_whether_the_autocorrelation_falls(runs):
    _, (row,) = shattering_report.trend_table(runs)
    assert (row[0], row[-1]) == ("relu", estimates.HOLDS)


def test_there_is_a_curve_for_each_depth_kind_and_layer(runs):
    (axes,) = shattering_report.depth_figure(runs, "relu").axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        f"depth {depth}" for depth in LEVELS
    ]
    (axes,) = shattering_report.layer_figure(runs, "relu", 20).axes
    assert len(axes.lines) == 2
    (axes,) = shattering_report.distance_figure(runs, 20, "weight_correlation").axes
    (line,) = axes.lines
    np.testing.assert_allclose(line.get_ydata(), [0.8, 0.1])


def test_pictures_are_of_each_kind_and_the_deepest_network(runs):
    found = shattering_report.figures(runs)
    assert list(found) == [
        "half_widths",
        "autocorrelation_relu",
        "input_correlation",
        "weight_correlation",
        "by_layer",
    ]
    assert found["by_layer"].args[1:] == ("relu", 20)


def test_sections_lead_with_the_half_widths(runs, monkeypatch):
    monkeypatch.setattr(report, "picture", lambda description, *rest: description)
    sections = shattering_report.sections(runs, {"relu": {"1": {"value": 0.25}}})
    assert sections[0].title == "Half-width by depth"
    assert "autocorrelation relu, with 95 % bands" in sections[0].pictures
