"""Tests of Taylor losses against explicit Jacobians, in graphs, and of what they refuse."""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt
from keras_taylor.derivatives.method import method_of
from keras_taylor.weights.scopes import Scopes

pytestmark = pytest.mark.filterwarnings("ignore:The structure of")
METHODS = {"residual_by_operators": "whole", "lstm": "reverse"}
MODEL_AND_LOSS = [
    *((model, "squared") for model in cases.MODELS if model != "softmax"),
    *(("mlp", loss) for loss in cases.LOSSES if loss != "squared"),
    ("convnet", "categorical"),
    ("transformer", "categorical"),
    ("softmax", "categorical"),
]


def _prepared(name, loss="squared", **options):
    case = cases.make(name, loss, **options)
    return (*case.arguments, case.reference)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("name", "loss"), MODEL_AND_LOSS)
def test_agrees_with_explicit_jacobians(name, loss):
    model, x, y, v, reference = _prepared(name, loss)
    cast = x.astype(model.inputs[0].dtype)
    assert method_of(model, cast, training=True) == METHODS.get(name, "layerwise")
    np.testing.assert_allclose(kt.taylor_loss(model, x, y, v), reference.loss(y, v), rtol=1e-8)
    by_layer = kt.taylor_loss(model, x, y, v, "layers")
    keys = [w.path.rpartition("/")[0] for w in model.trainable_variables]
    assert list(by_layer) == list(dict.fromkeys(keys))
    for layer, value in by_layer.items():
        expected = reference.loss(y, v, lambda i, s, layer=layer: s * (keys[i] == layer))
        np.testing.assert_allclose(value, expected, rtol=1e-8)
        np.testing.assert_allclose(
            kt.taylor_loss(model, x, y, v, f"layer:{layer}"), expected, rtol=1e-8
        )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", cases.MODELS)
def test_units_agree_with_explicit_jacobians(name):
    model, x, y, v, reference = _prepared(name, "squared")
    keys = [w.path.rpartition("/")[0] for w in model.trainable_variables]
    for layer, values in kt.taylor_loss(model, x, y, v, "units").items():
        for unit, value in enumerate(values):

            def keep(index, step, layer=layer, unit=unit):
                mask = np.arange(step.shape[-1]) == unit
                return step * mask * (keys[index] == layer)

            np.testing.assert_allclose(value, reference.loss(y, v, keep), rtol=1e-8)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_reductions_and_sample_weights(reduction):
    model, x, y, v, reference = _prepared("mlp", "categorical", reduction=reduction)
    weights = np.array([1.0, 0.0, 2.0, 0.5])
    value = kt.taylor_loss(model, x, y, v, sample_weight=weights)
    expected = reference.loss(y, v, weights=weights, reduction="sum")
    divisor = {"sum": 1.0, "sum_over_batch_size": 4.0, "mean_with_sample_weight": weights.sum()}
    np.testing.assert_allclose(value, expected / divisor[reduction], rtol=1e-8)
    keys = [w.path.rpartition("/")[0] for w in model.trainable_variables]
    for layer, values in kt.taylor_loss(model, x, y, v, "units", sample_weight=weights).items():
        for unit, value in enumerate(values):

            def keep(index, move, layer=layer, unit=unit):
                return move * (np.arange(move.shape[-1]) == unit) * (keys[index] == layer)

            total = reference.loss(y, v, keep, weights=weights, reduction="sum")
            np.testing.assert_allclose(value, total / divisor[reduction], rtol=1e-8)


@pytest.mark.parametrize("name", ["convnet", "residual", "lstm"])
def test_single_precision_is_close(name):
    model, x, y, v, reference = _prepared(name)
    value = kt.taylor_loss(model, x, y, v)
    np.testing.assert_allclose(value, reference.loss(y, v), rtol=1e-4)
    assert value.dtype == "float32"


@pytest.mark.optimized_graphs
@pytest.mark.parametrize("name", ["mlp", "convnet", "residual", "softmax"])
def test_graph_and_xla_equal_eager(name):
    model, x, y, v, _ = _prepared(name, "squared")
    x, y = tf.constant(x, "float32"), tf.constant(y, "float32")

    def look(x, y):
        value, gradient = kt.taylor_loss_and_gradient(model, x, y, v)
        return value, gradient, kt.taylor_loss(model, x, y, v, "layers")

    eager, gradients, by_layer = look(x, y)
    for jit_compile in (False, True):
        value, gradient, layers = tf.function(look, jit_compile=jit_compile)(x, y)
        np.testing.assert_allclose(value, eager, rtol=1e-5)
        for one, other in zip(gradient, gradients, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        for layer, value in by_layer.items():
            np.testing.assert_allclose(layers[layer], value, rtol=1e-5)


@pytest.mark.optimized_graphs
def test_units_in_a_graph_equal_eager():
    model, x, y, v, _ = _prepared("convnet")
    traced = tf.function(lambda x, y: kt.taylor_loss(model, x, y, v, "units"))
    found = traced(tf.constant(x, "float32"), tf.constant(y, "float32"))
    for layer, values in kt.taylor_loss(model, x, y, v, "units").items():
        np.testing.assert_allclose(found[layer], values, rtol=1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["smooth", "residual", "lstm", "softmax"])
def test_gradient_and_curvature_are_derivatives(name):
    model, x, y, v, _ = _prepared(name, "categorical")
    direction = cases.comparator(model, seed=7)
    length = 1e-5

    def at(sign):
        moved = [a + sign * length * d for a, d in zip(v, direction, strict=True)]
        return kt.taylor_loss_and_gradient(model, x, y, moved)

    (above, gradient_above), (below, gradient_below) = at(1), at(-1)
    _, gradient = kt.taylor_loss_and_gradient(model, x, y, v)
    along = sum(np.vdot(g, d) for g, d in zip(gradient, direction, strict=True))
    np.testing.assert_allclose((above - below) / (2 * length), along, rtol=1e-6)
    product = kt.taylor_curvature_product(model, x, y, v, direction)
    assert sum(np.vdot(p, d) for p, d in zip(product, direction, strict=True)) >= 0
    for one, other, expected in zip(gradient_above, gradient_below, product, strict=True):
        np.testing.assert_allclose((one - other) / (2 * length), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.usefixtures("float64")
def test_gradient_of_a_layer_is_zero_outside():
    model, x, y, v, _ = _prepared("mlp")
    first = next(iter(Scopes(model.trainable_variables).layers))
    _, gradient = kt.taylor_loss_and_gradient(model, x, y, v, f"layer:{first}")
    assert np.abs(gradient[0]).max() > 0
    assert not np.any(gradient[2])
    assert not np.any(kt.taylor_curvature_product(model, x, y, v, v, f"layer:{first}")[3])


@pytest.mark.usefixtures("float64")
def test_several_outputs_with_loss_weights():
    inputs = keras.Input((5,))
    hidden = keras.layers.Dense(6, "tanh")(inputs)
    outputs = {
        "a": keras.layers.Dense(3, "softmax", name="a")(hidden),
        "b": keras.layers.Dense(2, name="b")(hidden),
    }
    model = keras.Model(inputs, outputs)
    model.compile(
        loss={"a": "categorical_crossentropy", "b": "mse"}, loss_weights={"a": 2.0, "b": 0.5}
    )
    generator = np.random.default_rng(0)
    x, v = generator.normal(size=(4, 5)), cases.comparator(model)
    y = {"a": np.eye(3)[[0, 1, 2, 0]], "b": generator.normal(size=(4, 2))}
    expected = 0.0
    for name, weight in (("a", 2.0), ("b", 0.5)):
        part = keras.Model(inputs, outputs[name])
        kept = {id(w) for w in part.trainable_variables}
        c = [a for a, w in zip(v, model.trainable_variables, strict=True) if id(w) in kept]
        _, per_example = cases.ON_PROBABILITIES if name == "a" else cases.LOSSES["squared"]
        expected += weight * cases.Reference(part, x, per_example).loss(y[name], c)
    np.testing.assert_allclose(kt.taylor_loss(model, x, y, v), expected, rtol=1e-8)
    assert set(kt.taylor_loss(model, x, y, v, "units")) == {hidden._keras_history[0].name, "a", "b"}


@pytest.mark.usefixtures("float64")
def test_one_unit_is_that_of_all_units():
    model, x, y, v, _ = _prepared("convnet")
    for layer, values in kt.taylor_loss(model, x, y, v, "units").items():
        one = kt.taylor_loss(model, x, y, v, f"unit:{layer}/1")
        np.testing.assert_allclose(one, values[1], rtol=1e-12)
        value, gradient = kt.taylor_loss_and_gradient(model, x, y, v, f"unit:{layer}/1")
        np.testing.assert_allclose(value, values[1], rtol=1e-12)
        assert not any(np.any(np.delete(np.asarray(g), 1, axis=-1)) for g in gradient)


@pytest.mark.optimized_graphs
def test_nothing_is_changed():
    model, x, y, v, _ = _prepared("residual")
    before = [variable.numpy() for variable in model.variables]
    for scope in ("network", "layers", "units"):
        kt.taylor_loss(model, x, y, v, scope)
    for one, other in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_dropout_has_one_mask_for_value_and_derivative():
    model, x, y, _, _ = _prepared("transformer", "categorical")
    weights = [w.numpy() for w in model.trainable_variables]
    first = kt.taylor_loss(model, x, y, weights)
    np.testing.assert_array_equal(first, kt.taylor_loss(model, x, y, weights))
    assert float(first) != float(kt.taylor_loss(model, x, y, weights, training=False))


def test_one_example_is_a_batch():
    model, x, y, v, _ = _prepared("mlp")
    assert np.isfinite(kt.taylor_loss(model, x[:1], y[:1], v))
    assert all(
        np.isfinite(u).all() for u in kt.taylor_loss(model, x[:1], y[:1], v, "units").values()
    )


def test_mixed_precision_works():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = cases.mlp()
        model.compile(loss="mse")
        x, y = cases.data(model)
        weights = [w.numpy() for w in model.trainable_variables]
        at_weights = kt.taylor_loss(model, x, y, weights)
        loss = model.evaluate(x, y, verbose=0)
        np.testing.assert_allclose(at_weights, loss, rtol=1e-2)
    finally:
        keras.config.set_dtype_policy("float32")


class TestBadInput:
    """Mistakes are told, with what was expected."""

    @pytest.fixture
    def prepared(self):
        return _prepared("mlp")[:4]

    def test_comparators(self, prepared):
        model, x, y, v = prepared
        for wrong, message in (
            (v[:-1], "expected shapes"),
            ([*v[:-1], np.zeros(7)], "expected shapes"),
            ([a.astype("int32") for a in v], "dtype int32"),
            ([v[0] * np.nan, *v[1:]], "not finite"),
        ):
            with pytest.raises(ValueError, match=message):
                kt.taylor_loss(model, x, y, wrong)

    def test_scopes(self, prepared):
        model, x, y, v = prepared
        with pytest.raises(ValueError, match="unknown scope 'nope'.*network, layers, units.*dense"):
            kt.taylor_loss(model, x, y, v, "nope")
        with pytest.raises(ValueError, match="scope 'units' has several parts"):
            kt.taylor_loss_and_gradient(model, x, y, v, "units")

    def test_models(self, prepared):
        _, x, y, v = prepared
        with pytest.raises(ValueError, match="not built"):
            kt.taylor_loss(keras.Sequential([keras.layers.Dense(3)]), x, y, v, loss="mse")
        with pytest.raises(ValueError, match="not compiled and no loss"):
            kt.taylor_loss(cases.mlp(), x, y, v)
        frozen = cases.mlp()
        frozen.trainable = False
        with pytest.raises(ValueError, match="no trainable weights"):
            kt.taylor_loss(frozen, x, y, v, loss="mse")

    def test_subclassed_model_with_logits_in_reach(self):
        class Own(keras.Model):
            def __init__(self):
                super().__init__()
                self.first = keras.layers.Dense(4, "relu")
                self.last = keras.layers.Dense(3, "softmax")

            def call(self, x):
                return self.last(keras.ops.square(self.first(x)))

        model = Own()
        model.compile(loss="categorical_crossentropy")
        x, y = np.ones((4, 5), "float32"), np.eye(3)[[0, 1, 2, 0]]
        loss = model.evaluate(x, y, verbose=0)
        weights = [w.numpy() for w in model.trainable_variables]
        np.testing.assert_allclose(kt.taylor_loss(model, x, y, weights), loss, rtol=1e-5)

    def test_loss_that_is_not_convex_warns_once(self, prepared):
        model, x, y, v = prepared

        class Own(keras.losses.Loss):
            def call(self, y_true, y_pred):
                return keras.ops.mean(keras.ops.sin(y_pred), axis=-1)

        with pytest.warns(UserWarning, match="not known to be convex"):
            kt.taylor_loss(model, x, y, v, loss=Own(name="a_sine"))


@pytest.mark.parametrize(
    "function", [kt.taylor_loss, kt.taylor_loss_and_gradient, kt.taylor_curvature_product]
)
def test_autograph_does_not_convert_it(function):
    seen = []

    class Looking(keras.layers.Layer):
        def call(self, x):
            seen.append(cases.is_converted())
            return x

    model = cases.functional((3,), lambda x: Looking()(keras.layers.Dense(2)(x)))
    model.compile(loss="mse")
    x, y = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")
    v = [w + 1.0 for w in model.get_weights()]
    arguments = (v, v) if function is kt.taylor_curvature_product else (v,)
    seen.clear()
    tf.function(function)(model, x, y, *arguments)
    assert seen
    assert not any(seen)
