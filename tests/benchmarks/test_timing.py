"""Tests of interleaved timing; no time is asserted."""

import keras
import pytest

from benchmarks import timing


def test_what_is_compared_runs_in_turn():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = timing.interleaved(functions, blocks=3, warm_up=1)
    assert calls == ["a", "b"] + ["a", "b"] * 3
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}


def test_ratio_is_the_median_of_pairs():
    assert timing.ratio({"a": [2.0, 9.0, 8.0], "b": [1.0, 3.0, 2.0]}, "a", "b") == 3.0


@pytest.mark.parametrize("network", timing.NETWORKS)
def test_batches_fit_the_networks(network):
    x, y = timing.batch(network)
    model = timing.compiled(network, keras.optimizers.SGD(1e-3))
    assert model.compute_loss(y=y, y_pred=model(x)) > 0


def test_stepper_trains():
    data = timing.batch("autoencoder")
    model = timing.compiled("autoencoder", keras.optimizers.SGD(1e-3))
    run = timing.stepper(model, data, rounds=2)
    run()
    assert int(model.optimizer.iterations) == 2
