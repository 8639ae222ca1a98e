"""Tests of `diagnose`, on gradients that are given and on a small training."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt

ROUNDS = 120


def _tracker(optimizer=None, **options):
    return kt.optimizers.RegretTracker(optimizer or keras.optimizers.SGD(0.01), **options)


def _applied(tracker, *gradients_by_layer):
    """Applies gradients `(rounds, units)` of several layers."""
    weights = [
        keras.Variable(np.ones(gradients.shape[1:]), name=f"w{number}", dtype="float64")
        for number, gradients in enumerate(gradients_by_layer)
    ]
    tracker.build(weights)
    step = tf.function(lambda gradients: tracker.apply(gradients, weights))
    for gradients in zip(*gradients_by_layer, strict=True):
        step([tf.constant(gradient) for gradient in gradients])
    return tracker


def _same(rounds=ROUNDS):
    return np.ones((rounds, 2))


def _noise(rounds=ROUNDS, seed=0):
    return np.random.default_rng(seed).normal(size=(rounds, 40))


def _alternating(rounds=ROUNDS):
    return (-1.0) ** np.arange(rounds)[:, None] * np.ones(2)


@pytest.mark.parametrize(
    ("gradients", "verdict", "rate"),
    [(_same, "raise", 0.1), (_noise, "fits", 0.01), (_alternating, "lower", 0.001)],
)
def test_the_network_is_judged_by_how_gradients_agree(gradients, verdict, rate):
    found = kt.diagnose(_applied(_tracker(), gradients()))
    assert found.network["verdict"] == verdict
    assert found.network["suggested_rate"] == rate
    assert found.network["rounds"] == ROUNDS


def test_rows_have_what_the_tracker_reads():
    tracker = _applied(_tracker(), _noise(), _same())
    rows = {row["part"]: row for row in kt.diagnose(tracker).rows}
    assert list(rows) == ["network", "layer:w0", "layer:w1"]
    for name in ("relative_regret", "step_ratio", "gradient_agreement"):
        read = getattr(tracker, name)
        assert rows["network"][name] == float(read())
        assert rows["layer:w1"][name] == float(read("layer:w1"))
    assert rows["layer:w1"]["verdict"] == "lags"
    assert all(math.isnan(row["dead_units"]) for row in rows.values())


@pytest.mark.parametrize("rounds", [1, 99])
def test_too_few_rounds_give_no_advice(rounds):
    for row in kt.diagnose(_applied(_tracker(), _same(rounds))).rows:
        assert row["verdict"] == "too few rounds"
        assert math.isnan(row["suggested_rate"])


def test_before_the_first_round_it_says_so():
    tracker = _tracker()
    tracker.build([keras.Variable([1.0], name="w")])
    assert kt.diagnose(tracker).network["verdict"] == "no rounds"


def test_a_part_without_gradient_is_still():
    rows = kt.diagnose(_applied(_tracker(), _noise(), np.zeros((ROUNDS, 2)))).rows
    assert [row["verdict"] for row in rows] == ["fits", "fits", "still"]


def test_rounds_that_are_not_finite_are_divergence():
    gradients = np.concatenate([_noise(), np.full((40, 40), np.nan)])
    found = kt.diagnose(_applied(_tracker(keras.optimizers.SGD(0.01)), gradients))
    assert found.network["verdict"] == "diverged"
    assert found.network["suggested_rate"] == 0.001


def test_without_the_step_ratio_the_rest_remains():
    row = kt.diagnose(_applied(_tracker(track_step_ratio=False), _same())).network
    assert row["verdict"] == "raise"
    assert math.isnan(row["step_ratio"])


def test_lion_gets_no_advice():
    row = kt.diagnose(_applied(_tracker(keras.optimizers.Lion(0.01)), _same())).network
    assert row["verdict"] == "cannot tell"
    assert math.isnan(row["suggested_rate"])


def test_a_schedule_is_advised_on_its_peak():
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=100, warmup_target=0.5, warmup_steps=20
    )
    found = kt.diagnose(_applied(_tracker(keras.optimizers.SGD(schedule)), _same()))
    assert found.learning_rate == pytest.approx(0.5)
    assert found.network["suggested_rate"] == pytest.approx(5.0)
    assert "peak, 0.5" in found.notes[0]
    assert "peak" in str(found)


def test_a_given_rate_takes_the_place_of_the_optimizers():
    tracker = _applied(_tracker(), _same())
    found = kt.diagnose(tracker, learning_rate=0.04)
    assert found.network["suggested_rate"] == 0.4
    assert "peak, 0.04" in found.notes[0]
    assert kt.diagnose(tracker, learning_rate=0.01).notes == ()


def test_the_table_is_text_html_and_markdown():
    found = kt.diagnose(_applied(_tracker(), _noise(), _same() / 10))
    lines = str(found).splitlines()
    assert lines[0].split()[:2] == ["part", "relative"]
    assert [line.split()[0] for line in lines[2:]] == ["network", "layer:w0", "layer:w1"]
    assert lines[2].endswith("the step fits")
    assert "lags behind" in lines[4]
    page = found._repr_html_()
    assert page.count("<tr>") == 4
    assert "<td>layer:w1</td>" in page
    assert found.to_markdown().splitlines()[1].startswith("| --- |")


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda tracker: keras.mixed_precision.LossScaleOptimizer(tracker),
        lambda tracker: kt.optimizers.RMSNormalized(tracker),
    ],
)
def test_the_tracker_is_found_within_wrappers(optimizer):
    wrapper = optimizer(_tracker())
    weight = keras.Variable(np.ones(2), name="w")
    wrapper.build([weight])
    assert kt.diagnose(wrapper).network["verdict"] == "no rounds"


def test_without_a_tracker_it_says_how_to_get_one():
    with pytest.raises(ValueError, match=r"needs a RegretTracker, received.*RegretTracker around"):
        kt.diagnose(keras.optimizers.SGD())
    with pytest.raises(ValueError, match="is not built yet"):
        kt.diagnose(_tracker())


def _rows_of_hidden(bias):
    """Trains a layer of five rectifiers with a given bias; returns its diagnosis by part."""
    x, y = np.ones((8, 4)), np.ones((8, 2))
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(5, "relu", name="hidden", bias_initializer=bias)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(hidden))
    model.compile(_tracker(keras.optimizers.SGD(1e-4)), loss="mse")
    recorder = kt.callbacks.ActivationRecorder(x)
    model.fit(x, y, verbose=0, callbacks=[recorder])
    return {row["part"]: row for row in kt.diagnose(model, recorder).rows}


def test_dead_units_come_from_a_recorder():
    rows = _rows_of_hidden(_three_dead)
    assert rows["network"]["dead_units"] == rows["layer:hidden"]["dead_units"]
    assert rows["layer:hidden"]["dead_units"] == pytest.approx(0.6)
    assert math.isnan(rows["layer:out"]["dead_units"])
    assert {row["verdict"] for row in rows.values()} == {"too few rounds"}


def test_a_dead_network_gets_no_advice_on_its_rate():
    rows = _rows_of_hidden(keras.initializers.Constant(-99.0))
    assert [row["verdict"] for row in rows.values()] == ["dead", "dead", "of a dead network"]
    assert math.isnan(rows["network"]["suggested_rate"])
    assert "most rectifiers are dead" in rows["network"]["advice"]


def _three_dead(shape, dtype=None):
    return keras.ops.convert_to_tensor([-99.0, -99.0, -99.0, 99.0, 99.0], dtype=dtype)


def test_a_saved_model_goes_on_with_its_sums(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(inputs))
    model.compile(_tracker(keras.optimizers.SGD(1e-4)), loss="mse")
    x, y = np.ones((ROUNDS, 4)), np.ones((ROUNDS, 2))
    model.fit(x, y, batch_size=1, verbose=0)
    before = kt.diagnose(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert str(kt.diagnose(loaded)) == str(before)
    loaded.fit(x, y, batch_size=1, verbose=0)
    assert kt.diagnose(loaded).network["rounds"] == 2 * ROUNDS
