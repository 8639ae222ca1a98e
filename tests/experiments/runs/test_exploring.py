"""Tests of the measures of exploration."""

import numpy as np
import pytest

from experiments.runs import exploring
from experiments.tasks import tasks


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
