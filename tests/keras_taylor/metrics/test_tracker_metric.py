"""Tests of all metrics that read a tracker, in `compile`, `fit` and `evaluate`."""

import csv

import keras
import numpy as np
import pytest

import keras_taylor as kt

METRICS = (
    kt.metrics.LinearRegret,
    kt.metrics.OptimumLowerBound,
    kt.metrics.AverageLoss,
    kt.metrics.RelativeRegret,
    kt.metrics.StepRatio,
)
NAMES = {
    "average_linear_regret",
    "optimum_lower_bound",
    "average_loss",
    "relative_regret",
    "step_ratio",
}


def _model(optimizer=None, **options):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    tracker = kt.optimizers.RegretTracker(optimizer or keras.optimizers.SGD(0.1))
    model.compile(tracker, loss="mse", metrics=[metric(tracker) for metric in METRICS], **options)
    return model, tracker


def _fit(model, epochs=3, **options):
    x = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
    return model.fit(x, x[:, :2], batch_size=8, epochs=epochs, verbose=0, **options)


@pytest.mark.parametrize(
    "options", [{}, {"run_eagerly": True}, {"jit_compile": True}, {"steps_per_execution": 3}]
)
def test_history_has_averages_over_all_steps(options):
    model, tracker = _model(**options)
    history = _fit(model).history
    assert set(history) == NAMES | {"loss"}
    expected = float(tracker.linear_regret()) / 9
    np.testing.assert_allclose(history["average_linear_regret"][-1], expected, rtol=1e-5)
    np.testing.assert_allclose(history["average_loss"][-1], np.mean(history["loss"]), rtol=1e-5)
    for name in ("relative_regret", "step_ratio"):
        np.testing.assert_allclose(history[name][-1], getattr(tracker, name)(), rtol=1e-6)
    np.testing.assert_allclose(
        np.add(history["optimum_lower_bound"], history["average_linear_regret"]),
        history["average_loss"],
        rtol=1e-4,
    )


def test_values_follow_each_step_within_an_epoch():
    model, tracker = _model()
    seen = []
    read = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(
            (logs["average_linear_regret"], float(tracker.linear_regret()) / (batch + 1))
        )
    )
    _fit(model, epochs=1, callbacks=[read])
    assert len(seen) == 3
    for logged, read_after in seen:
        np.testing.assert_allclose(logged, read_after, rtol=1e-5)


def test_reset_does_not_forget():
    model, tracker = _model()
    _fit(model, epochs=1)
    before = float(tracker.linear_regret())
    for metric in model.metrics:
        metric.reset_state()
    assert float(tracker.linear_regret()) == before


def test_csv_log(tmp_path):
    model, tracker = _model()
    _fit(model, callbacks=[keras.callbacks.CSVLogger(tmp_path / "log.csv")])
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    expected = float(tracker.linear_regret()) / 9
    assert float(rows[-1]["average_linear_regret"]) == pytest.approx(expected, rel=1e-5)


def test_tensorboard_log(tmp_path):
    model, _ = _model()
    _fit(model, callbacks=[keras.callbacks.TensorBoard(tmp_path)])
    (events,) = (tmp_path / "train").glob("events*")
    assert b"epoch_average_linear_regret" in events.read_bytes()


def test_evaluate_before_fit_is_nan_and_says_why():
    model, tracker = _model()
    with pytest.warns(UserWarning, match="optimizer is not built"):
        found = model.evaluate(np.ones((4, 4)), np.ones((4, 2)), verbose=0, return_dict=True)
    assert np.isnan(found["average_linear_regret"])
    assert found["loss"] == pytest.approx(
        np.mean((model.predict(np.ones((4, 4)), verbose=0) - 1) ** 2)
    )
    expected = float(_fit(model).history["average_linear_regret"][-1])
    assert expected == pytest.approx(float(tracker.linear_regret()) / 9, rel=1e-5)


def test_evaluate_of_a_built_optimizer_shows_what_was_tracked():
    model, tracker = _model()
    tracker.build(model.trainable_variables)
    x, y = np.ones((4, 4)), np.ones((4, 2))
    before = model.evaluate(x, y, verbose=0, return_dict=True)
    assert np.isnan(before["average_linear_regret"])
    history = _fit(model).history
    after = model.evaluate(x, y, verbose=0, return_dict=True)
    assert after["average_linear_regret"] == pytest.approx(history["average_linear_regret"][-1])


def test_mixed_precision_optimizer_is_looked_into():
    tracker = kt.optimizers.RegretTracker("sgd")
    outer = keras.mixed_precision.LossScaleOptimizer(tracker)
    assert kt.metrics.LinearRegret(outer).get_config()["optimizer"] == tracker.name


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD(), None])
def test_other_optimizers_are_refused(metric, optimizer):
    with pytest.raises(ValueError, match="wrap the optimizer in a RegretTracker"):
        metric(optimizer)


def test_saved_metric_without_its_tracker_is_refused():
    config = kt.metrics.LinearRegret(kt.optimizers.RegretTracker("sgd")).get_config()
    with pytest.raises(ValueError, match="load it with its model"):
        kt.metrics.LinearRegret.from_config({**config, "optimizer": "nobody's"})
