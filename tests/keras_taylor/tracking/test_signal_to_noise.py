"""Tests of signal-to-noise ratios, by hand."""

import keras
import numpy as np

from keras_taylor.tracking import signal_to_noise
from keras_taylor.weights.scopes import Scopes


def test_ratio_by_hand():
    sums, squares = np.array([4.0, 0.0, 3.0, 0.0]), np.array([4.0, 4.0, 3.0, 0.0])
    found = signal_to_noise.ratio(sums, squares, 4)
    np.testing.assert_allclose(found, [1.0, 0.0, 3 / np.sqrt(12), 0.0])


def test_rounding_does_not_lift_it_above_one():
    values = np.full(1000, 0.1, "float32")
    total, squares = values.sum(), np.square(values).sum()
    assert float(signal_to_noise.ratio(total * np.float32(1.001), squares, 1000)) <= 1


def test_layers_with_units_of_several_numbers():
    """A separable convolution has depthwise units and filters."""
    model = keras.Sequential(
        [keras.Input((8, 8, 2)), keras.layers.SeparableConv2D(5, 3, depth_multiplier=2)]
    )
    scopes = Scopes(model.trainable_variables)
    ratios = [np.full(v.shape, 0.5, "float32") for v in model.trainable_variables]
    (units,) = signal_to_noise.quantiles(scopes, ratios, "units").values()
    assert units.shape == (4 + 5, 5)
    np.testing.assert_allclose(units, 0.5)
