"""Tests of what snapshots compare to, on a network whose bits are counted by hand."""

import keras
import numpy as np
import pytest
from configurations import PROBE, convnet, snapshot_of

from keras_taylor.exploration import measures
from keras_taylor.exploration.snapshots import Probe


def test_distances_by_hand():
    """With the first weight at -1 its bit becomes 0, 1, 0: three of nine differ."""
    one, other = snapshot_of(), snapshot_of(weights=(-1.0, -1.0, 0.5))
    np.testing.assert_array_equal(measures.hamming(one, other)["hidden"], [1, 1, 1])
    assert measures.hamming_share(one, other) == pytest.approx(3 / 9)
    far = snapshot_of(weights=(-1.0, 1.0, 0.5))
    assert measures.nearest_share(far, [one, other]) == pytest.approx(3 / 9)
    assert np.isnan(measures.nearest_share(far, []))


def test_frequencies_by_hand():
    frequency = measures.unit_frequency(snapshot_of())
    np.testing.assert_allclose(frequency["hidden"], [2 / 3, 1 / 3, 1 / 3])
    assert measures.dead_share(frequency) == measures.always_on_share(frequency) == 0
    edge = measures.unit_frequency(snapshot_of(biases=(9.0, -9.0, -9.0)))
    assert measures.dead_share(edge) == pytest.approx(2 / 3)
    assert measures.always_on_share(edge) == pytest.approx(1 / 3)


def test_digests_count_different_configurations():
    assert len(measures.digests(snapshot_of())) == 3
    assert len(measures.digests(snapshot_of(biases=(9.0, -9.0, -9.0)))) == 1
    both = measures.digests(snapshot_of()) | measures.digests(snapshot_of(biases=(9.0, 9.0, 9.0)))
    assert len(both) == 4


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_measures_match_unpacked_brute_force(policy):
    x = 5 * np.random.default_rng(0).normal(size=(6, 7, 9, 2))
    model = convnet(policy)
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
        np.testing.assert_array_equal(measures.hamming(one, other)[name], differ.sum(axis=(0, 2)))
        if bits.kind == "rectifier":
            on = pair[0][0].reshape(-1, bits.shape[-1]).mean(axis=0)
            np.testing.assert_allclose(measures.unit_frequency(one)[name], on)
        switched, elements = switched + differ.sum(), elements + differ.size
    assert 0 < measures.hamming_share(one, other) == pytest.approx(switched / elements)


def test_snapshots_of_different_models_do_not_compare():
    other = Probe(keras.Sequential([keras.Input((1,)), keras.layers.ReLU()]), PROBE).snapshot()
    with pytest.raises(ValueError, match="different models"):
        measures.hamming(snapshot_of(), other)


def test_dead_units_are_told_by_layer_and_number():
    frequency = {"a": np.array([0.0, 1e-9, 0.0]), "b": np.array([1.0]), "c": np.zeros(1)}
    assert measures.dead_unit_numbers(frequency) == {"a": [0, 2], "c": [0]}
