"""Tests of the callbacks that all runs share."""

import keras
import numpy as np
import pytest

from experiments.runs import callbacks


class _Model:
    stop_training = False


@pytest.mark.parametrize(("loss", "ends"), [(1.0, False), (np.nan, True), (np.inf, True)])
def test_a_loss_that_is_not_finite_ends_training(loss, ends):
    watch = callbacks.DivergenceWatch()
    watch.set_model(_Model())
    watch.check_loss(loss)
    assert watch.diverged == watch.model.stop_training == ends


def test_a_weight_that_is_not_finite_is_divergence():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    watch = callbacks.DivergenceWatch()
    watch.check_weights(model)
    assert not watch.diverged
    model.set_weights([np.array([[np.nan]]), np.array([0.0])])
    watch.check_weights(model)
    assert watch.diverged


def test_means_are_over_the_rounds_after_the_burn_in():
    means = callbacks.MeanLogs(burn_in=2)
    assert means.means() == {}
    for batch, loss in enumerate([9.0, 9.0, 1.0, 4.0]):
        means.on_train_batch_end(batch, {"loss": loss})
    assert means.means() == {"loss": 2.5}
    assert means.means(share=0.5) == {"loss": 4.0}
    assert means.means(share=0.01) == {"loss": 4.0}, "of one round at least"


def test_the_bar_shows_metrics_but_no_taylor_losses(capsys):
    bar = callbacks.ProgressBar("sgd", 2)
    for batch in range(2):
        bar.on_train_batch_end(batch, {"loss": 0.123456, "taylor_loss_initial": 7.0})
    bar.on_train_end()
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "loss=0.1235" in shown
    assert "taylor" not in shown
