"""Tests of summaries of shattered gradients."""

import math

import pytest

from experiments.analysis import estimates, shattering_summary


def _run(kind, depth, seed, level, widths=(0.2, 0.4, None)):
    return {
        "kind": kind,
        "depth": depth,
        "seed": seed,
        "lags": [0.0, 0.5],
        "autocorrelation": [[1.0, level], [1.0, level]],
        "half_widths": list(widths),
        "by_layer": {"dense": [1.0, 0.5]},
        "distances": [0.1],
        "input_correlation": [0.9],
        "weight_correlation": [0.8],
    }


def test_half_widths_are_medians_over_lines_and_seeds():
    runs = [_run("relu", 1, 0, 0.5), _run("relu", 1, 1, 0.5, (0.1, 0.1, 0.6))]
    found = shattering_summary.summarize(runs)["relu"]["1"]
    assert found == {"value": pytest.approx(0.25), "lower": 0.1, "upper": 0.4, "never": 0}


def test_networks_that_never_halve_are_counted():
    found = shattering_summary.summarize([_run("linear", 1, 0, 1.0, (None, None))])["linear"]["1"]
    assert math.isinf(found["value"])
    assert found["never"] == 1


def test_trends_are_of_each_kind():
    levels = {1: 0.9, 2: 0.7, 5: 0.5, 10: 0.3, 20: 0.1}
    runs = [_run("relu", depth, 0, level) for depth, level in levels.items()]
    # Rounding errors are no trend.
    runs += [_run("linear", depth, 0, 1.0 - 1e-9 * depth) for depth in levels]
    trends = shattering_summary.trends(runs)
    assert trends["relu"].value == pytest.approx(-1.0)
    assert estimates.verdict(trends["relu"], -1) == estimates.HOLDS
    assert math.isnan(trends["linear"].value)


def test_long_rows_have_every_curve():
    rows = list(shattering_summary.long_rows(_run("relu", 3, 1, 0.5)))
    assert all(tuple(row) == shattering_summary.COLUMNS for row in rows)
    values = {(row["quantity"], row["place"]): row["value"] for row in rows}
    assert values == {
        ("autocorrelation", 0.0): 1.0,
        ("autocorrelation", 0.5): 0.5,
        ("input correlation", 0.1): 0.9,
        ("weight correlation", 0.1): 0.8,
        ("autocorrelation at dense", 0.0): 1.0,
        ("autocorrelation at dense", 0.5): 0.5,
    }
