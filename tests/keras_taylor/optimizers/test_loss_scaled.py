"""Tests of loss scaling around a tracker, under mixed precision."""

import keras
import numpy as np
import pytest

import keras_taylor as kt


@pytest.fixture
def mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def _data():
    generator = np.random.default_rng(0)
    return generator.normal(size=(24, 5)).astype("float32"), generator.normal(size=(24, 2))


def _trained(optimizer, averages=False, **options):
    """Returns the model after six rounds, and the loss that `fit` says."""
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(6, "relu")
    model = keras.Sequential([keras.Input((5,)), hidden, keras.layers.Dense(2)])
    model.compile(optimizer, loss="mse", **options)
    swap = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if averages else []
    history = model.fit(*_data(), batch_size=4, shuffle=False, verbose=0, callbacks=swap)
    return model, history.history["loss"][0]


@pytest.mark.optimized_graphs
@pytest.mark.parametrize("mode", [{}, {"run_eagerly": True}], ids=str)
@pytest.mark.usefixtures("mixed_precision")
def test_the_tracker_sees_the_loss_and_training_is_that_of_keras(mode, recwarn):
    scaled = keras.mixed_precision.LossScaleOptimizer
    bare, _ = _trained(scaled(keras.optimizers.Adam(0.01), initial_scale=1024.0), **mode)
    tracker = kt.optimizers.RegretTracker(keras.optimizers.Adam(0.01))
    model, loss = _trained(kt.optimizers.LossScaled(tracker, initial_scale=1024.0), **mode)
    assert type(model.optimizer) is kt.optimizers.LossScaled, "compile puts nothing around it"
    for one, other in zip(bare.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(tracker.steps) == 6
    assert float(tracker.average_loss) == pytest.approx(loss, rel=1e-3)
    expected = tracker.average_loss - tracker.linear_regret() / 6
    assert float(tracker.optimum_lower_bound()) == pytest.approx(float(expected), rel=1e-4)
    assert not [w for w in recwarn if "was not given the loss" in str(w.message)]


@pytest.mark.usefixtures("mixed_precision")
def test_rounds_with_gradients_that_are_not_finite_leave_no_loss_behind():
    tracker = kt.optimizers.RegretTracker(keras.optimizers.SGD(0.01))
    optimizer = kt.optimizers.LossScaled(tracker, initial_scale=2.0**40)
    _, loss = _trained(optimizer)
    assert int(tracker.steps) < 6
    assert np.isfinite(loss)
    assert not int(tracker.steps) or np.isfinite(tracker.average_loss)


def test_it_can_be_saved_and_loaded(tmp_path):
    model, _ = _trained(kt.optimizers.LossScaled(kt.optimizers.RegretTracker("sgd")))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is kt.optimizers.LossScaled
    tracker = loaded.optimizer.inner_optimizer
    assert int(tracker.steps) == 6
    assert float(tracker.average_loss) == float(model.optimizer.inner_optimizer.average_loss)


def test_a_missing_loss_is_told_of_once(recwarn):
    tracker = kt.optimizers.RegretTracker(keras.optimizers.SGD(0.1))
    variable = keras.Variable(np.ones(2))
    tracker.build([variable])
    for _ in range(3):
        tracker.apply([np.ones(2)], [variable])
    assert len([w for w in recwarn if "was not given the loss" in str(w.message)]) == 1


def test_averaged_weights_are_found_under_two_wrappers():
    def build():
        return keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)

    scaled, scale = keras.mixed_precision.LossScaleOptimizer, {"initial_scale": 8.0}
    bare, _ = _trained(scaled(build(), **scale), averages=True)
    tracker = kt.optimizers.RegretTracker(build())
    model, _ = _trained(kt.optimizers.LossScaled(tracker, **scale), averages=True)
    for one, other in zip(bare.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_averaged_weights_the_callback_says_so():
    with pytest.raises(ValueError, match="use_ema=True"):
        _trained(kt.optimizers.LossScaled(kt.optimizers.RegretTracker("sgd")), averages=True)
