"""Tests of summaries of runs."""

import numpy as np
import pytest

from experiments.analysis import regret_summary
from experiments.runs import readings

TRACKED = 1000


def test_summary_of_known_growth(make_run):
    item = regret_summary.summarize(make_run(power=0.5), TRACKED)
    assert item["network"]["growth"]["slope"] == pytest.approx(0.5)
    assert item["network"]["linear_regret"] == pytest.approx(1000**0.5)
    assert item["network"]["average_linear_regret"] == pytest.approx(1000**-0.5)
    assert item["average_loss"] == pytest.approx(1.001)
    assert item["layers"]["b"]["growth"]["slope"] is None
    assert item["layers"]["b"]["growth"]["share_left_out"] == 1
    assert item["network"]["relative_regret"] == pytest.approx(1.0)
    assert item["layers"]["a"]["relative_regret"] == pytest.approx(0.5)
    assert item["layers"]["a"]["step_ratio"] == 1.5


def test_runs_that_were_kept_before_the_guarantee_was_read(make_run):
    run = make_run()
    for series in (run["network"], *run["layers"].values(), *run["units"].values()):
        for name in regret_summary.LIVE:
            del series[name]
    assert regret_summary.summarize(run, TRACKED)["network"]["guarantee"] is None
    assert all(row["step_ratio"] is None for row in regret_summary.long_rows(run))


def test_decomposition_is_that_of_all_rounds(make_run):
    item = regret_summary.summarize(make_run(), TRACKED)
    assert {row["rounds"] for row in item["decomposition"]["parts"].values()} == {1000}
    assert list(item["decomposition"]["parts"]) == ["network", "layer:a"]
    assert item["decomposition"]["units"] == {"solved": 1, "wide": 0}
    rows = list(regret_summary.decomposition_rows(make_run()))
    assert len(rows) == 7
    assert rows[0]["optimizer"] == "sgd"
    assert list(regret_summary.decomposition_rows(make_run(diverged=True))) == []


def test_average_before_the_first_step_is_no_number():
    np.testing.assert_array_equal(regret_summary.average([0.0, 6.0], [0, 3]), [np.nan, 2.0])
    assert regret_summary.average([[2.0, 4.0]], [2]).tolist() == [[1.0, 2.0]]


def test_windowed_loss_undoes_the_running_average(make_run):
    # The sum of losses is N + 1, so every window but the first has an average of exactly one.
    numbers, losses = regret_summary.windowed_loss(make_run(), TRACKED)
    assert len(numbers) == readings.LINEARLY_SPACED
    assert losses[0] == pytest.approx(21 / 20)
    np.testing.assert_allclose(losses[1:], 1.0)


def test_windowed_loss_without_new_steps_is_no_number(make_run):
    run = make_run()
    run["progress"]["steps"] = [min(steps, 500) for steps in run["progress"]["steps"]]
    _, losses = regret_summary.windowed_loss(run, TRACKED)
    assert np.isnan(losses[-1])


def test_long_rows_have_each_part_at_each_round(make_run):
    run = make_run()
    rows = list(regret_summary.long_rows(run))
    readings, unit_readings = len(run["progress"]["round"]), len(run["unit_progress"]["round"])
    assert len(rows) == 3 * readings + 3 * unit_readings
    assert all(tuple(row) == regret_summary.COLUMNS for row in rows)
    last = [row for row in rows if row["part"] == "a" and row["unit"] == 1][-1]
    assert last["round"] == 1000
    assert last["linear_regret"] == pytest.approx(0.25 * 1000**0.5)
    assert last["average_linear_regret"] == pytest.approx(0.25 * 1000**-0.5)
    assert last["average_loss"] == pytest.approx(1.001)
