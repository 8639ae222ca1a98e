"""Tests of summaries of tuned comparisons."""

import pytest

from experiments.analysis import comparison_summary


def _run(rate, loss, seed=0, optimizer="sgd"):
    return {
        "task": "digits_classifier",
        "optimizer": optimizer,
        "learning_rate": rate,
        "seed": seed,
        "steps": 20,
        "diverged": loss is None,
        "final_loss": loss,
        "metrics": {} if loss is None else {"accuracy": 0.5},
        "seconds": 1.0,
    }


def test_summary_has_the_best_rate_and_its_loss_over_seeds():
    grid = [_run(0.01, 2.0), _run(0.1, 1.0), _run(1.0, 1.05), _run(10.0, None)]
    again = [_run(0.1, 1.0), _run(0.1, 3.0, seed=1)]
    row = comparison_summary.summarize(grid, again)["sgd"]
    assert (row["best_rate"], row["is_at_end"], row["rates"]) == (0.1, False, 4)
    assert (row["diverged"], row["within_ten_percent"]) == (1, 2)
    assert row["final_loss"]["value"] == 2.0
    assert row["accuracy"]["value"] == 0.5
    assert row["by_seed"] == [1.0, 3.0]


@pytest.mark.parametrize("rate", [0.01, 1.0])
def test_a_best_rate_at_an_end_of_the_grid_is_marked(rate):
    grid = [_run(0.01, 2.0), _run(0.1, 1.0), _run(1.0, 1.5)]
    assert comparison_summary.summarize(grid, [_run(rate, 1.0)])["sgd"]["is_at_end"]


def test_without_a_best_rate_there_is_no_loss():
    row = comparison_summary.summarize([_run(0.1, None)], [])["sgd"]
    assert (row["best_rate"], row["by_seed"], row["within_ten_percent"]) == (None, [], 0)


def test_rows_have_the_columns_of_the_csv_file():
    row = comparison_summary.row(_run(0.1, 1.0))
    assert set(row) == set(comparison_summary.COLUMNS)
    assert (row["final_loss"], row["accuracy"]) == (1.0, 0.5)
    assert comparison_summary.row(_run(0.1, None))["accuracy"] is None
