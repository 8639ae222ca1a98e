"""Tests of snapshots and what they compare to, on a network whose bits are counted by hand."""

import keras
import numpy as np
import pytest

from keras_taylor.exploration import snapshots
from keras_taylor.exploration.snapshots import Probe

PROBE = np.array([[1.0], [-1.0], [2.0]])


def _model(weights=(1.0, -1.0, 0.5), biases=(0.0, 0.0, -0.75)):
    """Three rectifiers of one input."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3, "relu", name="hidden")])
    model.set_weights([np.array([weights]), np.array(biases)])
    return model


def _snapshot(**options):
    return Probe(_model(**options), PROBE).snapshot()


# Bits of the three units for x = 1, -1, 2 with the weights above: 1 0 0, 0 1 0, 1 0 1.
BITS = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 1]])


def test_bits_are_those_counted_by_hand():
    bits = _snapshot().layers["hidden"]
    assert bits.shape == (3,)
    assert bits.elements == 3
    np.testing.assert_array_equal(np.unpackbits(bits.packed, axis=-1, count=3), [BITS])


def test_distances_by_hand():
    """With the first weight at -1 its bit becomes 0, 1, 0: three of nine differ."""
    one, other = _snapshot(), _snapshot(weights=(-1.0, -1.0, 0.5))
    np.testing.assert_array_equal(snapshots.hamming(one, other)["hidden"], [1, 1, 1])
    assert snapshots.hamming_share(one, other) == pytest.approx(3 / 9)
    far = _snapshot(weights=(-1.0, 1.0, 0.5))
    assert snapshots.nearest_share(far, [one, other]) == pytest.approx(3 / 9)
    assert np.isnan(snapshots.nearest_share(far, []))


def test_frequencies_by_hand():
    frequency = snapshots.unit_frequency(_snapshot())
    np.testing.assert_allclose(frequency["hidden"], [2 / 3, 1 / 3, 1 / 3])
    assert snapshots.dead_share(frequency) == snapshots.always_on_share(frequency) == 0
    edge = snapshots.unit_frequency(_snapshot(biases=(9.0, -9.0, -9.0)))
    assert snapshots.dead_share(edge) == pytest.approx(2 / 3)
    assert snapshots.always_on_share(edge) == pytest.approx(1 / 3)


def test_digests_count_different_configurations():
    assert len(snapshots.digests(_snapshot())) == 3
    assert len(snapshots.digests(_snapshot(biases=(9.0, -9.0, -9.0)))) == 1
    both = snapshots.digests(_snapshot()) | snapshots.digests(_snapshot(biases=(9.0, 9.0, 9.0)))
    assert len(both) == 4


def _convnet(policy="float32"):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((7, 9, 2))
    x = keras.layers.Conv2D(3, 2, activation="relu6", name="conv", dtype=policy)(inputs)
    x = keras.layers.MaxPooling2D(2, name="pool", dtype=policy)(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(5, "relu", name="dense", dtype=policy)(x))


def test_batches_of_the_probe_change_nothing():
    x = np.random.default_rng(0).normal(size=(10, 7, 9, 2))
    model = _convnet()
    whole, cut = (Probe(model, x, size).snapshot() for size in (10, 3))
    for name, bits in whole.layers.items():
        np.testing.assert_array_equal(bits.packed, cut.layers[name].packed)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_measures_match_unpacked_brute_force(policy):
    x = 5 * np.random.default_rng(0).normal(size=(6, 7, 9, 2))
    model = _convnet(policy)
    one = Probe(model, x).snapshot()
    model.set_weights([w + 0.3 for w in model.get_weights()])
    other = Probe(model, x).snapshot()
    switched, elements = 0, 0
    for name, bits in one.layers.items():
        pair = [
            np.unpackbits(b.packed, axis=-1, count=int(np.prod(b.shape))).astype(bool)
            for b in (bits, other.layers[name])
        ]
        differ = pair[0] != pair[1]
        # A window has one winner, however many digits its number has; each kink counts.
        differ = differ.any(axis=0, keepdims=True) if bits.kind == "pool" else differ
        np.testing.assert_array_equal(snapshots.hamming(one, other)[name], differ.sum(axis=(0, 2)))
        if bits.kind == "rectifier":
            on = pair[0][0].reshape(-1, bits.shape[-1]).mean(axis=0)
            np.testing.assert_allclose(snapshots.unit_frequency(one)[name], on)
        switched, elements = switched + differ.sum(), elements + differ.size
    assert 0 < snapshots.hamming_share(one, other) == pytest.approx(switched / elements)


def test_snapshots_of_the_convolutional_network_are_small():
    from experiments.tasks import tasks

    model = tasks.get("cifar10_convnet").build_model()
    snapshot = Probe(model, np.zeros((8, 32, 32, 3))).snapshot()
    assert snapshot.nbytes * 1000 / 8 < 32e6


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (np.zeros((0, 1)), "no examples"),
        (np.zeros(()), "no examples"),
        (np.zeros((3, 2)), r"shapes \[\(2,\)\].*takes \[\(1,\)\]"),
        ([np.zeros((3, 1)), np.zeros((3, 1))], "shapes"),
    ],
)
def test_bad_probes(probe, message):
    with pytest.raises(ValueError, match=message):
        Probe(_model(), probe)


def test_snapshots_of_different_models_do_not_compare():
    other = Probe(keras.Sequential([keras.Input((1,)), keras.layers.ReLU()]), PROBE).snapshot()
    with pytest.raises(ValueError, match="different models"):
        snapshots.hamming(_snapshot(), other)


def test_dead_units_are_told_by_layer_and_number():
    frequency = {"a": np.array([0.0, 1e-9, 0.0]), "b": np.array([1.0]), "c": np.zeros(1)}
    assert snapshots.dead_unit_numbers(frequency) == {"a": [0, 2], "c": [0]}
