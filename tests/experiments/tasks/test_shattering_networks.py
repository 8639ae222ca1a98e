"""Tests of the networks whose gradients are compared."""

import numpy as np
import pytest

from experiments.tasks import shattering_networks


@pytest.mark.parametrize("kind", shattering_networks.KINDS)
def test_activations_keep_their_size_with_depth(kind):
    x = np.random.default_rng(0).normal(size=(64, 30))
    for depth in (2, 20):
        model = shattering_networks.build(kind, depth, 200, 30, 2, seed=0)
        shattering_networks.calibrate(model, x)
        assert 0.1 < np.asarray(model(x)).std() < 5


def test_normalised_networks_are_calibrated_on_the_data():
    x = 3.0 + np.random.default_rng(0).normal(size=(64, 10))
    model = shattering_networks.build("batch-normalised relu", 2, 20, 10, 2, seed=0)
    shattering_networks.calibrate(model, x)
    np.testing.assert_allclose(model(x), model(x, training=True), rtol=1e-2, atol=1e-2)
