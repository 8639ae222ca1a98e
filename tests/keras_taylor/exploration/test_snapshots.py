"""Tests of snapshots, on a network whose bits are counted by hand."""

import numpy as np
import pytest
from configurations import convnet, small_model, snapshot_of

from keras_taylor.exploration.snapshots import Probe

# Bits of the three units for x = 1, -1, 2 with the weights above: 1 0 0, 0 1 0, 1 0 1.
BITS = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 1]])


def test_bits_are_those_counted_by_hand():
    bits = snapshot_of().layers["hidden"]
    assert bits.shape == (3,)
    assert bits.elements == 3
    np.testing.assert_array_equal(np.unpackbits(bits.packed, axis=-1, count=3), [BITS])


def test_batches_of_the_probe_change_nothing():
    x = np.random.default_rng(0).normal(size=(10, 7, 9, 2))
    model = convnet()
    whole, cut = (Probe(model, x, size).snapshot() for size in (10, 3))
    for name, bits in whole.layers.items():
        np.testing.assert_array_equal(bits.packed, cut.layers[name].packed)


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
        Probe(small_model(), probe)
