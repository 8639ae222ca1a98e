"""Tests of the report of tuned optimizers."""

from experiments.reports import comparison_report


def test_missing_numbers_in_a_grid_are_said_in_words():
    run = {"optimizer": "sgd", "learning_rate": 1.0, "diverged": True, "final_loss": None}
    assert comparison_report.grid_table([run])[1] == [("sgd", "1", "diverged")]
