"""Tests of the measures of exploration."""

import types

import numpy as np
import pytest

import keras_taylor as kt
from experiments.runs import exploring
from experiments.tasks import tasks
from keras_taylor.optimum.optimum import INTERRUPTED
from keras_taylor.optimum.taylor_optimum import NoMovementError


def test_probe_is_the_first_examples(data_dir):
    task = tasks.get("digits_classifier")
    examples = tasks.examples(task, data_dir)
    found = exploring.probe(task, examples, 3)
    expected = [example["image"].numpy().ravel() / 16 for example in examples.take(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_loss_in_windows():
    curve = exploring.LossCurve()
    for number, loss in enumerate([4.0, 2.0, 1.0, 1.0, 0.0]):
        curve.on_train_batch_end(number, {"loss": loss})
    rounds, losses = curve.windowed(2)
    assert rounds == [3, 5]
    assert losses == [pytest.approx(7 / 3), 0.5]


def test_weights_that_did_not_move_have_no_optimum(monkeypatch):
    def refuse(*arguments, **options):
        raise NoMovementError("part 'network' did not move")

    monkeypatch.setattr(kt, "taylor_optimum", refuse)
    assert exploring._optimum(None, None, 0.01, None) == {}


def test_an_interrupted_solve_is_no_finished_run(monkeypatch):
    found = types.SimpleNamespace(reason=INTERRUPTED)
    monkeypatch.setattr(kt, "taylor_optimum", lambda *arguments, **options: found)
    with pytest.raises(KeyboardInterrupt):
        exploring._optimum(None, None, 0.01, None)
