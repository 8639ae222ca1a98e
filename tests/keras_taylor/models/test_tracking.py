"""Tests of what a `TaylorModel` keeps beside its weights, without training."""

import keras
import numpy as np
import pytest

from keras_taylor.models.tracking import ComparatorTracking, EpochMean, SavedTracking
from keras_taylor.taylor.batch import batch_of, expand, loss_at

X, Y = np.array([[1.0, 2.0], [0.0, 1.0]], "float32"), np.zeros((2, 1), "float32")
# The model has ones for weights: outputs 3 and 1 on X.
LOSS = (9 + 1) / 2


@pytest.fixture
def model():
    inputs = keras.Input((2,))
    outputs = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    return model


def _round(tracking, model):
    batch = batch_of(model, X, Y)
    expanded = expand(batch, tracking.directions(model))
    values = [loss_at(batch, expanded, number) for number in range(len(expanded.directions))]
    tracking.add(batch, values, keras.ops.convert_to_tensor(LOSS))


def test_averages_are_over_rounds_and_metrics_over_the_epoch(model):
    tracking = ComparatorTracking(model, {"start": "initial", "zero": [np.zeros((2, 1))]})
    tracking.begin(model)
    for _ in range(2):
        _round(tracking, model)
    assert float(tracking.average("start")) == pytest.approx(LOSS)
    assert float(tracking.average("zero")) == pytest.approx(0.0)
    results = {metric.name: float(metric.result()) for metric in tracking.metrics()}
    assert results == pytest.approx(
        {
            "taylor_loss_start": LOSS,
            "taylor_regret_start": 0.0,
            "taylor_loss_zero": 0.0,
            "taylor_regret_zero": LOSS,
        }
    )


def test_a_round_that_is_not_finite_is_left_out_of_the_average(model):
    tracking = ComparatorTracking(model, "initial")
    tracking.begin(model)
    _round(tracking, model)
    model.set_weights([np.full((2, 1), np.inf)])
    _round(tracking, model)
    assert float(tracking.average("")) == pytest.approx(LOSS)


def test_restarting_forgets_the_rounds(model):
    tracking = ComparatorTracking(model, "initial")
    tracking.begin(model)
    _round(tracking, model)
    model.set_weights([np.zeros((2, 1))])
    tracking.restart(model)
    assert np.isnan(tracking.average(""))
    (direction,) = tracking.directions(model)
    assert not np.any(direction[0]), "the first weights are the present ones"


def test_what_is_saved_is_loaded_into_the_same_comparators_only(model):
    tracking = ComparatorTracking(model, "average")
    tracking.begin(model)
    _round(tracking, model)
    store, other = {}, ComparatorTracking(model, "average")
    SavedTracking(tracking).save_own_variables(store)
    SavedTracking(other).load_own_variables(store)
    for one, kept in zip(tracking.variables(), other.variables(), strict=True):
        np.testing.assert_array_equal(one, kept)
    assert tracking.config() == "average"
    several = ComparatorTracking(model, {"a": "average", "b": "initial"})
    with pytest.raises(ValueError, match="expected the same comparators"):
        SavedTracking(several).load_own_variables(store)


def test_epoch_means_weight_batches_by_their_examples():
    mean = EpochMean(name="mean")
    mean.update_state(1.0, 3)
    mean.update_state(5.0, 1)
    assert float(mean.result()) == pytest.approx(2.0)
