"""Tests of the callback that prints a diagnosis."""

import keras
import numpy as np
import pytest

import keras_taylor as kt

X, Y = np.random.default_rng(0).normal(size=(2, 64, 4))


def _model(optimizer, tracked=True):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(6, "relu", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(4, name="out")(hidden))
    model.compile(kt.optimizers.RegretTracker(optimizer) if tracked else optimizer, loss="mse")
    return model


def _fit(model, *callbacks, **options):
    options = {"epochs": 2, "batch_size": 1, "verbose": 0, "shuffle": False} | options
    return model.fit(X, Y, callbacks=list(callbacks), **options)


@pytest.mark.optimized_graphs
def test_it_prints_writes_and_does_not_change_training(tmp_path, capsys, read_summaries):
    bare, model = (_model(keras.optimizers.SGD(1e-5), tracked) for tracked in (False, True))
    _fit(bare)
    advisor = kt.callbacks.Diagnose(log_dir=tmp_path)
    _fit(model, advisor)
    for one, other in zip(bare.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    printed = capsys.readouterr().out
    assert "too few rounds to tell: 64 of the 100" in printed
    assert "raise the rate about" in printed
    (tag,) = (tag for tag in read_summaries(tmp_path) if tag.startswith("diagnosis"))
    (first, one), (second, other) = read_summaries(tmp_path)[tag]
    assert (first, second) == (64, 128)
    assert "too few rounds" in str(one)
    assert "raise the rate" in str(other)
    # A further `fit` goes on with the sums.
    _fit(model, advisor, epochs=1)
    assert advisor.latest.network["rounds"] == 192


def test_every_so_many_rounds_silently(capsys):
    model, advisor = _model(keras.optimizers.SGD(0.01)), kt.callbacks.Diagnose(50, verbose=False)
    _fit(model, advisor, epochs=1)
    assert advisor.latest.network["rounds"] == 50
    assert capsys.readouterr().out == ""


def test_a_rate_that_a_callback_lowers_is_judged_by_its_peak():
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: (1e-5, 1e-6)[epoch])
    model, advisor = _model(keras.optimizers.SGD(1.0)), kt.callbacks.Diagnose(verbose=False)
    _fit(model, scheduler, advisor)
    assert advisor.latest.learning_rate == pytest.approx(1e-5)
    assert "peak" in advisor.latest.notes[0]


def test_a_missing_tracker_is_told():
    with pytest.raises(ValueError, match="Diagnose found no RegretTracker"):
        _fit(_model(keras.optimizers.SGD(), tracked=False), kt.callbacks.Diagnose())
    with pytest.raises(ValueError, match="every must be"):
        kt.callbacks.Diagnose(every=0)


def test_rates_of_other_rounds_are_forgotten():
    """One callback over two trackers, and over a start of the sums: as `diagnose` each time."""
    advisor = kt.callbacks.Diagnose(verbose=False)
    model = _model(keras.optimizers.SGD(0.1))
    _fit(model, advisor)
    assert advisor.latest.learning_rate == pytest.approx(0.1)
    model.optimizer.start_tracking()
    model.optimizer.learning_rate = 1e-3
    _fit(model, advisor)
    _check_as_by_function(advisor, model, 1e-3)
    model.compile(kt.optimizers.RegretTracker(keras.optimizers.SGD(1e-4)), loss="mse")
    _fit(model, advisor)
    _check_as_by_function(advisor, model, 1e-4)


def test_the_largest_rate_of_the_rounds_in_the_sums_is_kept_over_fits():
    advisor, model = kt.callbacks.Diagnose(verbose=False), _model(keras.optimizers.SGD(0.1))
    _fit(model, advisor)
    model.optimizer.learning_rate = 1e-3
    _fit(model, advisor)
    assert advisor.latest.learning_rate == pytest.approx(0.1)


def _check_as_by_function(advisor, model, rate):
    found = kt.diagnose(model.optimizer).network
    assert advisor.latest.learning_rate == pytest.approx(rate)
    assert advisor.latest.network["suggested_rate"] == pytest.approx(found["suggested_rate"])
