"""Tests of the cut of weights into network, layers and units."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_taylor.weights.scope_names import parsed
from keras_taylor.weights.scopes import Scopes


def _built(shape, *stack):
    inputs = outputs = keras.Input(shape)
    for layer in stack:
        outputs = layer(outputs)
    return Scopes(keras.Model(inputs, outputs).trainable_variables)


def test_paths_in_a_sequential_begin_with_its_name():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="a")], name="net")
    assert Scopes(model.trainable_variables).layers == {"net/a": 2}


def test_dense_layers_have_a_unit_a_column():
    scopes = _built((3,), layers.Dense(4, name="a"), layers.Dense(2, use_bias=False, name="b"))
    assert scopes.layers == {"a": 4, "b": 2}


def test_depthwise_kernel_is_cut_along_its_last_two_axes():
    layer = layers.DepthwiseConv2D(2, depth_multiplier=2)
    model = keras.Sequential([keras.Input((4, 4, 3)), layer])
    kernel = np.arange(2 * 2 * 3 * 2, dtype="float32").reshape(2, 2, 3, 2)
    scopes = Scopes(model.trainable_variables)
    found, _ = scopes.unit_part([kernel, np.zeros(6, "float32")], 3)
    expected = np.zeros_like(kernel)
    expected[:, :, 1, 1] = kernel[:, :, 1, 1]
    np.testing.assert_array_equal(found, expected)


def test_embedding_has_a_unit_a_dimension():
    assert _built((4,), layers.Embedding(10, 3, name="words")).layers == {"words": 3}


def test_attention_is_cut_into_its_projections():
    inputs = keras.Input((4, 6))
    outputs = layers.MultiHeadAttention(2, 3, name="attention")(inputs, inputs)
    scopes = Scopes(keras.Model(inputs, outputs).trainable_variables)
    assert scopes.layers["attention/query"] == 3
    assert scopes.layers["attention/attention_output"] == 6


def test_frozen_layers_are_left_out():
    frozen = layers.Dense(4, name="frozen", trainable=False)
    assert _built((3,), frozen, layers.Dense(2, name="b")).layers == {"b": 2}


def test_shared_layer_is_there_once():
    shared = layers.Dense(3, name="shared")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, shared(shared(inputs)))
    assert Scopes(model.trainable_variables).layers == {"shared": 3}


def test_layers_of_the_same_name_in_nested_models_are_told_apart():
    def nested(name):
        inputs = keras.Input((3,))
        return keras.Model(inputs, layers.Dense(3, name="dense")(inputs), name=name)

    assert _built((3,), nested("one"), nested("two")).layers == {"dense": 3, "dense_1": 3}


def test_weights_without_a_layer_and_scalars():
    scale = keras.Variable(1.0, name="scale")
    scopes = Scopes([scale])
    assert scopes.layers == {"scale": 1}
    assert scopes.matrices([scale])[0].shape == (1, 1)


def test_no_weights_is_refused():
    with pytest.raises(ValueError, match="at least one trainable weight"):
        Scopes([])


def _mixed():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.SeparableConv2D(4, 3, depth_multiplier=2),
            layers.Flatten(),
            layers.Dense(3),
            layers.BatchNormalization(),
        ]
    )
    generator = np.random.default_rng(0)
    weights = [generator.normal(size=v.shape) for v in model.trainable_variables]
    return Scopes(model.trainable_variables), weights


def test_totals_of_all_scopes_agree_with_sums_over_the_weights():
    scopes, weights = _mixed()
    units = scopes.unit_sums(scopes.matrices(weights))
    assert float(scopes.totals(units, "network")) == pytest.approx(sum(w.sum() for w in weights))
    by_layer = scopes.named(scopes.totals(units, "layers"), "layers")
    by_unit = scopes.named(scopes.totals(units, "units"), "units")
    expected = [weights[:3], weights[3:5], weights[5:]]
    assert list(by_layer) == list(by_unit) == list(scopes.layers)
    for (layer, total), tensors in zip(by_layer.items(), expected, strict=True):
        assert float(total) == pytest.approx(sum(w.sum() for w in tensors))
        assert float(np.sum(by_unit[layer])) == pytest.approx(float(total))
        assert by_unit[layer].shape == (scopes.layers[layer],)


def test_unknown_scope_lists_the_known():
    scopes, weights = _mixed()
    with pytest.raises(ValueError, match="'layer'.*network, layers, units"):
        scopes.totals(scopes.unit_sums(scopes.matrices(weights)), "layer")


def test_a_cut_says_which_layers_and_units_it_has():
    scopes = _built((3,), layers.Dense(4, name="a"), layers.Dense(2, name="b"))
    assert scopes.locate("network") == ("network", None, None)
    assert scopes.locate("layers") == ("layers", None, None)
    assert scopes.locate("layer:b") == ("layers", "b", None)
    assert scopes.locate("unit:a/3") == ("units", "a", 3)
    with pytest.raises(ValueError, match="unknown scope 'a'.*with the key of a layer: a, b"):
        scopes.locate("a")
    for scope in ("layer:c", "unit:c/0"):
        with pytest.raises(ValueError, match="unknown layer 'c': expected one of a, b"):
            scopes.locate(scope)
    with pytest.raises(ValueError, match="layer 'b' has 2 units, numbered from 0 to 1"):
        scopes.locate("unit:b/2")


def test_one_part_is_the_entry_of_all_parts():
    """Eagerly and in a graph; a layer's key may hold slashes and a number at its end."""

    def nested(name, units):
        inputs = keras.Input((3,))
        return keras.Sequential([inputs, layers.Dense(units, name="2")], name=name)

    scopes = _built((3,), nested("one", 3), nested("two", 4))
    assert scopes.layers == {"one/2": 3, "two/2": 4}
    units = np.arange(7, dtype="float64")

    def values(scope):
        return scopes.named(scopes.totals(tf.constant(units), parsed(scope)[0]), scope)

    for read in (values, tf.function(values)):
        assert float(read("network")) == units.sum()
        for scope in ("layers", "units"):
            found = read(scope)
            assert list(found) == ["one/2", "two/2"]
        for layer, first, count in (("one/2", 0, 3), ("two/2", 3, 4)):
            own = units[first : first + count]
            np.testing.assert_array_equal(read("units")[layer], own)
            assert float(read(f"layer:{layer}")) == float(read("layers")[layer]) == own.sum()
            for number in range(count):
                assert float(read(f"unit:{layer}/{number}")) == own[number]
        with pytest.raises(ValueError, match="has 3 units"):
            read("unit:one/2/3")


def test_values_may_have_further_axes():
    scopes = _built((3,), layers.Dense(2, name="a"), layers.Dense(1, name="b"))
    values = np.arange(15.0).reshape(3, 5)
    np.testing.assert_array_equal(scopes.named(values, "unit:b/0"), values[2])
    np.testing.assert_array_equal(scopes.named(values, "units")["a"], values[:2])


def test_layer_units_are_numbered_in_order():
    scopes = _built((3,), layers.Dense(4, name="a"), layers.Dense(2, name="b"))
    assert (scopes.layer_units("a"), scopes.layer_units("b")) == (range(4), range(4, 6))
    with pytest.raises(ValueError, match="unknown layer 'c'"):
        scopes.layer_units("c")


def test_other_shapes_are_refused():
    scopes, weights = _mixed()
    scopes.check_shapes(weights, "comparator")
    with pytest.raises(ValueError, match="comparator must be a list"):
        scopes.check_shapes(weights[:-1], "comparator")
    with pytest.raises(ValueError, match="expected shapes"):
        scopes.check_shapes([*weights[:-1], np.zeros(5)], "comparator")
