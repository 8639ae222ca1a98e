"""Tests of which layer a weight belongs to, and of the number of its units."""

import keras
import pytest
from keras import layers

from keras_taylor.weights.scopes import Scopes
from keras_taylor.weights.units import layer_keys


def _units(layer, shape):
    model = keras.Sequential([keras.Input(shape), layer])
    return list(Scopes(model.trainable_variables).layers.values())


@pytest.mark.parametrize(
    ("layer", "shape", "units"),
    [
        (layers.Conv2D(5, 3), (8, 8, 2), 5),
        (layers.Conv1D(5, 3), (8, 2), 5),
        (layers.BatchNormalization(), (7,), 7),
        (layers.LayerNormalization(), (7,), 7),
        (layers.PReLU(), (7,), 7),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), (8, 8, 3), 6),
        (layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False), (8, 8, 3), 6),
        (layers.DepthwiseConv2D(3, depth_multiplier=2, name="renamed"), (8, 8, 3), 6),
        (layers.SeparableConv2D(5, 3, depth_multiplier=2), (8, 8, 3), 6 + 5),
        (layers.LSTM(4), (6, 3), 16),
    ],
)
def test_units_of_a_layer(layer, shape, units):
    assert _units(layer, shape) == [units]


def test_suffix_is_free():
    assert layer_keys(["a/k", "a_1/k", "a/k"]) == ["a", "a_1", "a_2"]


def test_a_name_alone_does_not_make_a_kernel_depthwise():
    layer = layers.Conv2D(4, 3, use_bias=False, name="after_depthwise")
    assert _units(layer, (8, 8, 2)) == [4]
