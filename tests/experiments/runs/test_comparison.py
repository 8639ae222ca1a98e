"""Tests of the losses of a run in windows."""

import numpy as np
import pytest

from experiments.runs import comparison


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
