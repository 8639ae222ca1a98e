"""Tests of the losses of a run in windows."""

import dataclasses
from concurrent.futures import process

import numpy as np
import pytest

from experiments.runs import comparison
from experiments.tasks.errors import UsageError


class _Means:
    """Stands for a model whose logs are running means since the last reset."""

    def __init__(self, losses, curve):
        self.reset_metrics()
        curve.set_model(self)
        for number, loss in enumerate(losses):
            self.kept.append(np.float32(loss))
            mean = np.sum(self.kept, dtype="float32") / np.float32(len(self.kept))
            curve.on_train_batch_end(number, {"loss": mean, "accuracy": 1.0})

    def reset_metrics(self):
        self.kept = []


def test_final_loss_is_the_mean_over_the_last_tenth():
    curve = comparison.Curve(20)
    losses = [float(n % 7) for n in range(20)]
    _Means(losses, curve)
    assert curve.final_loss() == pytest.approx(sum(losses[-2:]) / 2)
    assert curve.final_metrics() == {"accuracy": 1.0}
    rounds, windows = curve.windows()
    assert rounds == list(range(1, 21))
    assert windows == pytest.approx(losses)


def test_a_spike_does_not_drown_what_comes_after():
    curve = comparison.Curve(400)
    _Means([1e11] * 3 + [30.0] * 397, curve)
    assert curve.final_loss() == pytest.approx(30.0)
    assert curve.windows()[1][-1] == pytest.approx(30.0)


def test_a_run_of_one_round_has_a_final_loss():
    curve = comparison.Curve(1)
    _Means([5.0], curve)
    assert curve.final_loss() == 5.0


RUNS = [comparison.Run("digits_classifier", "sgd", rate, 0, 10) for rate in (0.1, 0.2, 0.3)]


def test_damaged_and_missing_runs_are_trained_and_whole_ones_kept(tmp_path, monkeypatch, capsys):
    trained = []

    def train(run):
        trained.append(run.name)
        return dataclasses.asdict(run)

    monkeypatch.setattr(comparison, "train", train)
    first = comparison.finish_all(RUNS[:2], tmp_path)
    path = tmp_path / "runs" / f"{RUNS[1].name}.json"
    path.write_text(path.read_text()[:40])
    found = comparison.finish_all(RUNS, tmp_path)
    assert [run["learning_rate"] for run in found] == [0.1, 0.2, 0.3]
    assert found[0] == first[0]
    assert trained == [run.name for run in (*RUNS[:2], *RUNS[1:])]
    assert f"{path.name} is damaged" in capsys.readouterr().out.replace("\n", "")


def test_runs_that_workers_wrote_elsewhere_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "finish", lambda run, directory: None)
    with pytest.raises(UsageError, match="a directory that all workers share"):
        comparison.finish_all(RUNS[:1], tmp_path)


def test_a_worker_that_is_killed_is_told(tmp_path, monkeypatch):
    def pool(tasks):
        raise process.BrokenProcessPool("killed")

    monkeypatch.setattr(comparison.joblib, "Parallel", lambda **options: pool)
    with pytest.raises(UsageError, match="one of 2 processes was killed"):
        comparison.finish_all(RUNS[:1], tmp_path, workers=2)
