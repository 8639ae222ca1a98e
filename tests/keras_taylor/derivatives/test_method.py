"""Tests of the check of derivatives."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_taylor.derivatives import expansion, method


def _method(build, shape=(6,), dtype=None):
    inputs = keras.Input(shape, dtype=dtype)
    model = keras.Model(inputs, build(inputs))
    return method.method_of(model, np.ones((3, *shape), dtype or "float32"), training=True)


def test_methods():
    assert _method(layers.Dense(2)) == "layerwise"
    assert _method(lambda x: layers.Dense(2)(x + layers.Dense(6)(x))) == "whole"
    assert _method(lambda x: layers.Dense(2)(layers.GRU(3)(x)), (4, 3)) == "reverse"
    embedded = lambda x: layers.Dense(2)(layers.Flatten()(layers.Embedding(5, 3)(x)))  # noqa: E731
    assert _method(embedded, (4,), "int32") == "layerwise"


@pytest.mark.slow
def test_a_recurrent_layer_inside_of_another_is_one():
    both_ways = layers.Bidirectional(layers.SimpleRNN(2))
    assert _method(lambda x: layers.Dense(2)(both_ways(x)), (4, 3)) == "reverse"


def test_open_dimensions_are_filled_in():
    inputs = keras.Input((None, None, 2))
    outputs = layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3)(inputs)))
    model = keras.Model(inputs, outputs)
    found = []

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 2))])
    def traced(x):
        found.append(method.method_of(model, x, training=False))
        return x

    traced(tf.ones((2, 8, 8, 2)))
    assert found == ["layerwise"]


@pytest.mark.parametrize("skip", [False, True])
def test_bilinear_upsampling_is_named(skip):
    def build(x):
        x = layers.Conv2D(2, 3, padding="same")(x)
        y = layers.UpSampling2D(interpolation="bilinear", name="resize")(x)
        return layers.Conv2D(1, 1)(layers.Add()([y, layers.UpSampling2D()(x)]) if skip else y)

    with pytest.raises(ValueError, match="layer 'resize' incompletely.*nearest"):
        _method(build, (4, 4, 2))


def test_gradients_that_are_no_derivatives_are_refused():
    @tf.custom_gradient
    def straight_through(x):
        return tf.sign(x), lambda upstream: upstream

    def build(x):
        return layers.Dense(2)(layers.Lambda(straight_through, name="sign")(layers.Dense(6)(x)))

    with pytest.raises(ValueError, match="not its derivative.*layer 'sign'"):
        _method(build)


def test_freezing_a_layer_is_another_question():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2), layers.Dense(2)])
    x = np.ones((2, 3), "float32")
    method.method_of(model, x, True)
    model.layers[0].trainable = False
    method.method_of(model, x, True)
    model.trainable = False
    with pytest.raises(ValueError, match="no trainable weights"):
        method.method_of(model, x, True)


def test_weights_that_are_written_in_a_call_are_refused():
    normalised = lambda x: layers.Dense(2)(layers.SpectralNormalization(layers.Dense(3))(x))  # noqa: E731
    with pytest.raises(ValueError, match="writes its trainable weights .*kernel"):
        _method(normalised)


@pytest.mark.parametrize("depth", [3, 8])
def test_deep_normalised_rectifiers_are_no_false_alarm(depth):
    def build(x):
        for _ in range(depth):
            x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(8)(x)))
        return layers.Dense(2)(x)

    assert _method(build) == "layerwise"
    assert _method(lambda x: layers.Dense(2)(layers.ReLU(threshold=1e3)(layers.Dense(3)(x))))


def test_text_is_not_made_up():
    inputs = keras.Input((), dtype="string")
    ids = layers.StringLookup(vocabulary=["red", "blue"], num_oov_indices=0)(inputs)
    model = keras.Model(inputs, layers.Dense(1)(layers.Embedding(2, 3)(ids)))
    assert method.method_of(model, tf.constant(["red", "blue"]), training=True) == "layerwise"

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def traced(x):
        assert method.method_of(model, x, training=False) == "layerwise"
        return x

    traced(tf.constant(["blue"]))


def test_an_architecture_is_asked_about_once(monkeypatch):
    asked, ask = [], method._checked_method
    monkeypatch.setattr(method, "_methods_of_architectures", {})
    monkeypatch.setattr(method, "_checked_method", lambda *a: asked.append(a) or ask(*a))
    own = layers.Lambda(lambda x: 2 * x, name="own")
    for _ in range(2):
        assert _method(layers.Dense(2)) == "layerwise"
        assert _method(lambda x: layers.Dense(2)(own(x))) == "layerwise"
    assert len(asked) == 3
    # A fault is told of each model.
    for _ in range(2):
        with pytest.raises(ValueError, match="writes its trainable weights"):
            _method(lambda x: layers.Dense(2)(layers.SpectralNormalization(layers.Dense(3))(x)))


@pytest.mark.parametrize(
    ("build", "ways"),
    [
        (layers.Dense(2), {"eager"}),
        (lambda x: layers.Dense(2)(layers.GRU(3)(layers.Reshape((2, 3))(x))), {"graph"}),
        (lambda x: layers.Dense(2)(layers.Lambda(lambda x: 2 * x)(x)), {"graph"}),
    ],
    ids=["layers of Keras", "loops", "a function"],
)
def test_a_graph_is_made_where_it_may_compute_otherwise(build, ways, monkeypatch):
    found, expand = set(), expansion.expand

    def expanded(*arguments):
        found.add("eager" if tf.executing_eagerly() else "graph")
        return expand(*arguments)

    monkeypatch.setattr(expansion, "expand", expanded)
    monkeypatch.setattr(method, "_methods_of_architectures", {})
    _method(build)
    assert found == ways


def test_what_layers_for_data_cast_in_graphs_alone_is_seen():
    def build(x):
        return layers.Dense(2)(layers.Flatten()(layers.Rescaling(1 / 255)(x)))

    assert _method(build, (4, 4, 1), "uint8") == "whole"


def test_inputs_that_may_be_left_out_are_no_missing_derivative():
    class MayAdd(layers.Layer):
        def call(self, x, other=None):
            return x if other is None else x + other

    inputs, other = keras.Input((6,)), keras.Input((6,), optional=True)
    model = keras.Model([inputs, other], layers.Dense(2)(MayAdd()(inputs, other)))
    x = [np.ones((3, 6), "float32"), None]
    assert method.method_of(model, x, training=True) in ("layerwise", "whole")


def test_arrays_and_tensors_are_asked_about_once(monkeypatch):
    asked, checked = [], method._checked_method

    def counted(*arguments):
        asked.append(arguments)
        return checked(*arguments)

    monkeypatch.setattr(method, "_checked_method", counted)
    monkeypatch.setattr(method, "_methods_of_architectures", {})
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    for x in (np.ones((3, 6), "float32"), tf.ones((3, 6)), [tf.ones((3, 6))]):
        method.method_of(model, x, training=True)
    assert len(asked) == 1


def test_outputs_that_are_not_finite_leave_the_question_open(monkeypatch):
    monkeypatch.setattr(method, "_methods_of_architectures", {})
    for _ in range(2):
        with pytest.warns(UserWarning, match="could not be checked"):
            _method(lambda x: layers.Dense(2)(layers.Rescaling(np.inf)(layers.Dense(2)(x))))
    assert not method._methods_of_architectures
