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
    read = getattr(tracker, name)
    if mode == "graph":
        read = tf.function(read)
    layers, units = read("layers"), read("units")
    tail = (5,) if name == "snr" else ()
    assert read("network").shape == tail
    for layer, unit_count in LAYERS.items():
        assert units[layer].shape == (unit_count, *tail)
        found = read(f"layer:{layer}")
        assert found.shape == tail
        np.testing.assert_array_equal(found, layers[layer])
        for unit in (0, unit_count - 1):
            found = read(f"unit:{layer}/{unit}")
            assert found.shape == tail
            np.testing.assert_array_equal(found, units[layer][unit])


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


@pytest.fixture
def two_layers():
    """A function of two gradients, each of a layer, that trains a round; and the tracker."""
    tracker = RegretTracker(keras.optimizers.SGD(0.0))
    variables = [keras.Variable(np.ones(2), name=name) for name in ("a", "b")]
    tracker.build(variables)

    def train(*gradients, loss=1.0):
        tracker.scale_loss(loss)
        tracker.apply([np.array(g, "float32") for g in gradients], variables)

    return train, tracker


def test_gradient_norms_are_root_mean_squares_over_rounds(two_layers):
    train, tracker = two_layers
    train([3.0, 0.0], [0.0, 0.0])
    train([0.0, 4.0], [1.0, 1.0])
    assert float(tracker.gradient_norm()) == pytest.approx(np.sqrt((9 + 16 + 2) / 2))
    assert float(tracker.gradient_norm("layer:a")) == pytest.approx(np.sqrt(25 / 2))
    np.testing.assert_allclose(tracker.gradient_norm("units")["b"], np.sqrt([0.5, 0.5]))
    tracker.start_tracking()
    assert np.isnan(tracker.gradient_norm())


def test_the_first_round_left_out_and_its_layers_are_known(two_layers):
    train, tracker = two_layers
    assert tracker.first_skipped() is None
    train([1.0, 1.0], [1.0, 1.0])
    assert tracker.first_skipped() is None
    train([1.0, 1.0], [np.nan, 1.0])
    train([np.inf, 1.0], [1.0, 1.0])
    assert tracker.first_skipped() == {"round": 2, "layers": ["b"]}
    assert int(tracker.skipped_steps) == 2
    tracker.start_tracking()
    assert tracker.first_skipped() is None
    train([1.0, 1.0], [1.0, 1.0], loss=np.inf)
    assert tracker.first_skipped() == {"round": 1, "layers": []}


def test_the_first_round_left_out_is_asked_of_a_built_tracker():
    with pytest.raises(ValueError, match="is not built yet"):
        RegretTracker("sgd").first_skipped()
