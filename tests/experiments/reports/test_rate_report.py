"""Tests of the tables and pictures of the advice on rates."""

import math

from experiments.analysis import rate_summary
from experiments.reports import rate_report

WAY = {"within": 0.5, "median": 1.25}
FOUND = {
    "begins": 6,
    "far": 4,
    "right_or_fits": 0.75,
    "right": 0.5,
    "wrong_when_very_far": 1,
    "before": {"within": 0.0, "median": math.inf},
    **dict.fromkeys(rate_report.WAYS, WAY),
}


def _case(agreement):
    runs = [
        {
            "learning_rate": rate,
            "final_loss": loss,
            "factor": 1.0,
            "verdict": "fits",
            "gradient_agreement": agreement,
            "step_ratio": 1.0,
        }
        for rate, loss in ((0.01, 2.0), (0.0316, 1.0), (0.1, None))
    ]
    advised = [{"suggestions": [], "final_loss": run["final_loss"]} for run in runs]
    return {"optimizer": "sgd", "seed": 0, "grid": runs, "advised": advised}


def test_tables_say_shares_in_percent():
    _, ((*cells,),) = rate_report.advice_table({"sgd": FOUND})
    assert cells == ["sgd", "6", "4", "75 % (50 %)", "1"]
    header, (row,) = rate_report.loss_table({"sgd": FOUND})
    assert row == ("sgd", "∞, 0 %", *["1.25, 50 %"] * 4)
    assert len(header) == len(row)


def test_shares_of_nothing_are_dashes():
    summary = rate_summary.summarize([_case(1.0) | {"others": {}, "grid": [], "advised": []}])
    _, rows = rate_report.advice_table(summary)
    assert rows[0][3] == "– (–)"


def test_lines_have_gaps_where_runs_diverged():
    figures = rate_report.figures([_case(1.5), _case(None)])
    losses, agreement = (draw() for draw in figures.values())
    line = losses.axes[0].lines[0]
    assert line.get_ydata()[:2].tolist() == [2.0, 1.0]
    assert math.isnan(line.get_ydata()[2])
    assert agreement.axes[0].lines[0].get_ydata().tolist() == [1.5] * 3
