"""Tests of what a tracker tells of each scope, on one trained tracker."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt

RegretTracker = kt.optimizers.RegretTracker
LAYERS = {"hidden": 8, "normalization": 8, "logits": 3}
READINGS = (
    "linear_regret",
    "optimum_lower_bound",
    "distance_travelled",
    "guarantee",
    "relative_regret",
    "step_ratio",
    "gradient_norm",
    "gradient_agreement",
    "snr",
)


@pytest.fixture(scope="module")
def tracker(make_training):
    training = make_training()
    tracker = RegretTracker(keras.optimizers.SGD(0.1), track_snr=True)
    training.fit(training.compile(tracker))
    return tracker


@pytest.mark.parametrize("name", READINGS)
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_one_part_is_the_entry_of_all_parts(tracker, name, mode):
    single = {f"layer:{layer}": (layer, None) for layer in LAYERS}
    single |= {f"unit:{layer}/{u}": (layer, u) for layer, n in LAYERS.items() for u in (0, n - 1)}

    def read():
        scopes = ("network", "layers", "units", *single)
        return {scope: getattr(tracker, name)(scope) for scope in scopes}

    found = tf.function(read)() if mode == "graph" else read()
    tail = (5,) if name == "snr" else ()
    assert found["network"].shape == tail
    for layer, unit_count in LAYERS.items():
        assert found["units"][layer].shape == (unit_count, *tail)
    for scope, (layer, unit) in single.items():
        assert found[scope].shape == tail
        among = found["layers"][layer] if unit is None else found["units"][layer][unit]
        np.testing.assert_array_equal(found[scope], among)


@pytest.mark.parametrize("name", READINGS)
def test_unknown_parts_are_refused_with_those_there_are(tracker, name):
    read = getattr(tracker, name)
    with pytest.raises(ValueError, match="unknown scope 'hidden'.*layer:<key>, unit:<key>/<n>"):
        read("hidden")
    with pytest.raises(ValueError, match="unknown layer 'hid': expected one of hidden, norm"):
        read("layer:hid")
    with pytest.raises(ValueError, match="unknown unit 3 in .*'logits' has 3 units"):
        read("unit:logits/3")


def test_a_comparator_may_be_asked_for_one_part(tracker):
    comparator = [np.zeros(v.shape, "float32") for v in tracker._trainable_variables]
    layers = tracker.linear_regret("layers", comparator)
    found = tracker.linear_regret("layer:logits", comparator)
    np.testing.assert_array_equal(found, layers["logits"])
    np.testing.assert_allclose(
        sum(layers.values()), tracker.linear_regret(comparator=comparator), rtol=1e-5
    )


def test_unbuilt_and_unknown_are_refused():
    tracker = RegretTracker("sgd")
    for read in (tracker.linear_regret, tracker.optimum_lower_bound, tracker.distance_travelled):
        with pytest.raises(ValueError, match="not built yet"):
            read()
        with pytest.raises(ValueError, match="unknown scope 'layer'"):
            read("layer")
    assert int(tracker.steps) == 0
    assert np.isnan(tracker.average_loss)
