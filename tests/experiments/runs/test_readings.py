"""Tests of the callback that reads a tracker."""

import numpy as np
import pytest

from experiments.runs import readings


class Tracker:
    """Counts the rounds since tracking started; linear regret is that number in every part."""

    def __init__(self):
        self.steps = self.skipped_steps = self.restarts = 0
        self.average_loss = 2.0

    def start_tracking(self):
        self.steps = 0
        self.restarts += 1

    def linear_regret(self, scope="network"):
        units = np.array([self.steps, 0.0])
        return {"network": units[0], "layers": {"a": units[0]}, "units": {"a": units}}[scope]

    def optimum_lower_bound(self, scope="network"):
        units = np.array([1.0, 2.0])
        return {"network": units[0], "layers": {"a": units[0]}, "units": {"a": units}}[scope]

    guarantee = relative_regret = step_ratio = optimum_lower_bound


class Model:
    """Holds what a callback sets to end training."""

    stop_training = False


def _train(steps, burn_in=0, losses=()):
    tracker = Tracker()
    recorder = readings.RegretRecorder(tracker, steps, burn_in)
    recorder.set_model(Model())
    trained = 0
    while not recorder.model.stop_training:
        tracker.steps += 1
        recorder.on_train_batch_end(trained, {"loss": losses[trained] if losses else 1.0})
        trained += 1
    return tracker, recorder, trained


def test_reads_every_round_of_a_short_run():
    _, recorder, trained = _train(5)
    series = recorder.series()
    assert trained == 5
    assert series["progress"]["round"] == [1, 2, 3, 4, 5]
    assert series["progress"]["average_loss"] == [2.0] * 5
    assert series["network"]["linear_regret"] == [1, 2, 3, 4, 5]
    assert series["layers"]["a"]["optimum_lower_bound"] == [1.0] * 5
    assert series["units"]["a"]["linear_regret"][-1] == [5.0, 0.0]
    assert series["layers"]["a"]["step_ratio"] == [1.0] * 5
    assert tuple(series["network"]) == readings.READINGS


def test_reads_a_long_run_at_few_rounds_and_at_its_end():
    series = _train(3000)[1].series()
    assert len(series["progress"]["round"]) < 120
    assert len(series["unit_progress"]["round"]) <= readings.UNITS
    assert series["progress"]["round"][-1] == series["unit_progress"]["round"][-1] == 3000


def test_tracking_starts_after_the_burn_in():
    tracker, recorder, trained = _train(10, burn_in=4)
    assert tracker.restarts == 1
    assert trained == 10
    assert recorder.series()["progress"]["round"] == [1, 2, 3, 4, 5, 6]
    assert recorder.series()["progress"]["steps"] == [1, 2, 3, 4, 5, 6]


def test_without_burn_in_tracking_is_not_restarted():
    assert _train(3)[0].restarts == 0


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_that_is_no_number_ends_training(loss):
    _, recorder, trained = _train(5, losses=[1.0, 1.0, loss, 1.0, 1.0])
    assert recorder.diverged
    assert trained == 3
    assert recorder.series()["progress"]["round"] == [1, 2, 3]


def test_divergence_in_the_burn_in_is_read_too():
    _, recorder, trained = _train(5, burn_in=3, losses=[1.0, np.nan, 1.0, 1.0, 1.0])
    assert recorder.diverged
    assert trained == 2
    assert recorder.series()["progress"]["round"] == [0]
