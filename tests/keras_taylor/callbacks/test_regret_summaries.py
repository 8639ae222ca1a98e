"""Tests of what TensorBoard gets to see of regret."""

import keras
import numpy as np
import pytest

import keras_taylor as kt

Summaries = kt.callbacks.RegretSummaries
X, Y = np.random.default_rng(0).normal(size=(2, 32, 4))
BOUNDS = ("average_linear_regret", "optimum_lower_bound")


def _model(tracked=True, exact=False):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(6, "relu", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(4, name="out")(hidden))
    optimizer = keras.optimizers.SGD(0.1)
    if exact:
        model = kt.TaylorModel.from_model(model)
    model.compile(kt.optimizers.RegretTracker(optimizer) if tracked else optimizer, loss="mse")
    return model


def _fit(model, *callbacks, **options):
    options = {"epochs": 3, "batch_size": 8, "verbose": 0, "shuffle": False} | options
    return model.fit(X, Y, callbacks=list(callbacks), **options).history


def test_the_network_is_beside_its_loss(tmp_path, read_summaries):
    model = _model()
    history = _fit(model, Summaries(tmp_path))
    found, tracker = read_summaries(tmp_path), model.optimizer
    assert [step for step, _ in found["regret/average_loss"]] == [4, 8, 12]
    regret = tracker.linear_regret() / 12
    last = {name: float(values[-1][1]) for name, values in found.items() if values[-1][1].ndim == 0}
    assert last["regret/average_linear_regret"] == pytest.approx(float(regret), rel=1e-6)
    assert last["regret/average_loss"] == pytest.approx(np.mean(history["loss"]), rel=1e-5)
    bound = last["regret/average_loss"] - last["regret/average_linear_regret"]
    assert last["regret/optimum_lower_bound"] == pytest.approx(bound, rel=1e-5)
    losses = [float(value) for _, value in found["epoch/loss"]]
    assert losses == pytest.approx(history["loss"], rel=1e-6)


def test_layers_have_scalars_and_histograms_of_units(tmp_path, read_summaries):
    model = _model()
    _fit(model, Summaries(tmp_path))
    found, tracker = read_summaries(tmp_path), model.optimizer
    for layer, units in tracker.linear_regret("units").items():
        value = float(found[f"layer_average_linear_regret/{layer}"][-1][1])
        assert value == pytest.approx(float(tracker.linear_regret("layers")[layer]) / 12, rel=1e-6)
        histogram = found[f"unit_average_linear_regret/{layer}"][-1][1]
        # Rows are buckets: left end, right end, how many units.
        assert histogram[:, 2].sum() == len(units)
        assert histogram[0, 0] == pytest.approx(float(np.min(units)) / 12, rel=1e-5)
        assert histogram[-1, 1] == pytest.approx(float(np.max(units)) / 12, rel=1e-5)
    tags = {
        f"{kind}_{name}/{layer}"
        for kind in ("layer", "unit")
        for name in BOUNDS
        for layer in ("hidden", "out")
    }
    assert tags < set(found)


def test_a_taylor_model_shows_its_own(tmp_path, read_summaries):
    history = _fit(_model(tracked=False, exact=True), Summaries(tmp_path))
    found = read_summaries(tmp_path)
    assert set(found) == {"epoch/loss", "epoch/taylor_loss", "epoch/taylor_regret"}
    values = [float(value) for _, value in found["epoch/taylor_regret"]]
    assert values == pytest.approx(history["taylor_regret"], rel=1e-6, abs=1e-8)


def test_every_so_many_rounds_and_going_on(tmp_path, read_summaries):
    model, summaries = _model(), Summaries(tmp_path, every=5)
    _fit(model, summaries)
    _fit(model, summaries, epochs=1)
    steps = [step for step, _ in read_summaries(tmp_path)["regret/average_linear_regret"]]
    assert steps == [5, 10, 15]


def test_a_restart_has_nothing_to_show_before_its_first_round(tmp_path, read_summaries):
    model = _model()
    restart = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: model.optimizer.start_tracking()
    )
    _fit(model, restart, Summaries(tmp_path))
    assert "regret/average_linear_regret" not in read_summaries(tmp_path)


@pytest.mark.optimized_graphs
def test_watching_does_not_change_training(tmp_path):
    plain, watched = _model(), _model()
    _fit(plain)
    _fit(watched, Summaries(tmp_path, every=1))
    for one, other in zip(plain.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_values_that_are_no_numbers_do_not_end_the_run(tmp_path, read_summaries):
    model = _model()
    step = keras.callbacks.LambdaCallback(
        # Without `fit`, nobody tells the tracker the loss.
        on_epoch_begin=lambda epoch, logs: model.optimizer.apply(
            [np.zeros(v.shape, "float32") for v in model.trainable_variables],
            model.trainable_variables,
        )
    )
    _fit(model, step, Summaries(tmp_path))
    found = read_summaries(tmp_path)
    assert np.isnan(found["regret/optimum_lower_bound"][-1][1])
    assert "unit_average_linear_regret/out" in found
    assert "unit_optimum_lower_bound/out" not in found


def test_a_model_with_nothing_to_show_is_told(tmp_path):
    with pytest.raises(ValueError, match="found nothing to show: compile the model with"):
        _fit(_model(tracked=False), Summaries(tmp_path))
