"""Tests of which parts are solved for together."""

import types

import keras
import pytest

from keras_taylor.optimum import groups as module
from keras_taylor.optimum.groups import groups
from keras_taylor.weights.scopes import Scopes


@pytest.fixture
def rounds():
    layers = [keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")]
    model = keras.Sequential([keras.Input((4,)), *layers], name="net")
    return types.SimpleNamespace(scopes=Scopes(model.trainable_variables))


def test_units_of_a_layer_are_together_where_they_share(rounds, monkeypatch):
    monkeypatch.setattr(module, "_shared", lambda rounds, key: key if key == "net/a" else None)
    units = [f"unit:net/{unit}" for unit in ("a/0", "a/2", "b/0", "b/1")]
    assert list(groups(rounds, ["network", *units, "layer:net/a"])) == [
        (None, ["network"]),
        ("net/a", units[:2]),
        (None, units[2:3]),
        (None, units[3:]),
        (None, ["layer:net/a"]),
    ]


def test_a_single_unit_is_alone(rounds, monkeypatch):
    monkeypatch.setattr(module, "_shared", lambda rounds, key: key)
    assert list(groups(rounds, ["unit:net/a/1"])) == [(None, ["unit:net/a/1"])]
