"""A compute_loss of one's own against the formula written out, and against a Keras loss."""

import warnings

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_taylor as kt

X = np.random.default_rng(0).normal(size=(6, 4))
Y = np.random.default_rng(1).normal(size=(6, 2))
WEIGHTS = np.random.default_rng(2).uniform(0.5, 2.0, 6)


class Own(keras.Model):
    """Adds to the compiled loss and penalties, doubles them, and reads weights and inputs."""

    convex_in_output = True

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        compiled = super().compute_loss(x, y, y_pred, sample_weight)
        own = ops.mean(ops.abs(x[:, :2] - y_pred)) + ops.sum(self.trainable_variables[0] ** 2)
        return 2.0 * compiled + own


def _model(kind=Own, loss="mse", **options):
    inputs = keras.Input((4,))
    h = layers.Dense(5, "tanh", kernel_regularizer=keras.regularizers.L2(0.1))(inputs)
    model = kind(inputs, layers.Dense(2, activity_regularizer="l2", **options)(h))
    model.compile("sgd", loss)
    return model


def _near(model):
    generator = np.random.default_rng(3)
    return [v.numpy() + 0.3 * generator.normal(size=v.shape) for v in model.trainable_variables]


def _moved(model, comparator):
    """Returns weights, outputs, and outputs moved by central differences of the forward pass."""
    weights = [v.numpy() for v in model.trainable_variables]
    step = 1e-5

    def outputs(share):
        model.set_weights([w + share * (v - w) for w, v in zip(weights, comparator, strict=True)])
        return model(X).numpy()

    ahead, behind, now = outputs(step), outputs(-step), outputs(0.0)
    return weights, now, now + (ahead - behind) / (2 * step)


@pytest.mark.usefixtures("float64")
def test_the_outputs_are_moved_and_the_rest_is_linear():
    model = _model()
    comparator = _near(model)
    (kernel, *_), outputs, moved = _moved(model, comparator)
    step = comparator[0] - kernel
    activity = 0.01 * (np.sum(outputs**2) + np.sum(2 * outputs * (moved - outputs)))
    activity /= cases.activity_divisor(len(X))
    kernel_penalty = 0.1 * (np.sum(kernel**2) + np.sum(2 * kernel * step))
    compiled = np.mean(np.mean((moved - Y) ** 2, axis=1) * WEIGHTS)
    own = np.mean(np.abs(X[:, :2] - moved)) + np.sum(kernel**2) + np.sum(2 * kernel * step)
    expected = 2 * (compiled + activity + kernel_penalty) + own
    found = kt.taylor_loss(model, X, Y, comparator, sample_weight=WEIGHTS)
    graph = tf.function(kt.taylor_loss)(model, X, Y, comparator, sample_weight=WEIGHTS)
    np.testing.assert_allclose([found, graph], expected, rtol=1e-8)


@pytest.mark.usefixtures("float64")
def test_value_and_gradient_at_the_weights_are_those_of_training():
    model = _model()
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=X, y=Y, y_pred=model(X, training=True))
    expected = tape.gradient(loss, [v.value for v in model.trainable_variables])
    weights = [v.numpy() for v in model.trainable_variables]
    value, gradient = kt.taylor_loss_and_gradient(model, X, Y, weights)
    np.testing.assert_allclose(value, loss, rtol=1e-12)
    for one, other in zip(gradient, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_layers_and_units_move_by_their_own_part():
    model = _model()
    weights, comparator = [v.numpy() for v in model.trainable_variables], _near(model)
    layer = model.trainable_variables[0].path.rpartition("/")[0]
    part = [*comparator[:2], *weights[2:]]
    expected = kt.taylor_loss(model, X, Y, part)
    np.testing.assert_allclose(kt.taylor_loss(model, X, Y, comparator, "layers")[layer], expected)
    unit = [w.copy() for w in weights]
    unit[0][:, 1], unit[1][1] = comparator[0][:, 1], comparator[1][1]
    found = kt.taylor_loss(model, X, Y, comparator, "units")[layer][1]
    np.testing.assert_allclose(found, kt.taylor_loss(model, X, Y, unit))


def test_it_is_that_of_a_keras_loss_where_it_is_one():
    class Plain(keras.Model):
        convex_in_output = True

        def compute_loss(self, x, y, y_pred, sample_weight):
            return super().compute_loss(x, y, y_pred, sample_weight)

    labels = np.arange(6) % 2
    own = _model(Plain, "sparse_categorical_crossentropy", activation="softmax")
    plain = keras.Model(own.input, own.output)
    plain.compile("sgd", "sparse_categorical_crossentropy")
    comparator = [v.astype("float32") for v in _near(own)]
    found, expected = (kt.taylor_loss(m, X, labels, comparator, "layers") for m in (own, plain))
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-6)


def test_nothing_of_the_model_is_changed():
    class Counting(keras.Model):
        convex_in_output = True

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.seen = keras.metrics.Sum()

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            self.seen.update_state(1.0)
            return ops.mean(y_pred**2)

    model = _model(Counting, loss=None)
    before = [id(getattr(model, name)) for name in ("_compile_loss", "_losses_override")]
    kt.taylor_loss(model, X, Y, [v.numpy() for v in model.trainable_variables])
    after = [id(getattr(model, name)) for name in ("_compile_loss", "_losses_override")]
    assert after == before
    assert float(model.seen.result()) == 0.0


def test_what_is_no_scalar_is_refused():
    class Examples(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(y_pred**2, axis=1)

    model = _model(Examples, loss=None)
    with (
        pytest.warns(UserWarning, match=r"Examples.compute_loss is not known to be convex"),
        pytest.raises(ValueError, match=r"shape \(6,\), expected a scalar"),
    ):
        kt.taylor_loss(model, X, Y, [v.numpy() for v in model.trainable_variables])


def _recorded(kind, path):
    keras.utils.set_random_seed(0)
    model = _model(kind)
    data = [(X.astype("float32"), Y.astype("float32"))] * 8
    return model, kt.record(model, data, path / "run", steps=8, verbose=0)


class Sum(keras.Model):
    """Trains on what a Keras loss is, too."""

    convex_in_output = True

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        penalties = sum(map(ops.sum, self.losses))
        return ops.mean(ops.square(y - y_pred)) + penalties


def test_the_optimum_is_that_of_the_keras_loss(tmp_path):
    own, recorded = _recorded(Sum, tmp_path / "own")
    plain, expected = _recorded(keras.Model, tmp_path / "plain")
    with pytest.warns(UserWarning, match="compute_loss of its own, which may compute in float32"):
        found = kt.taylor_optimum(recorded, own, radius=0.5, verbose=0)
    expected = kt.taylor_optimum(expected, plain, radius=0.5, verbose=0)
    assert found.converged
    assert found.lower_bound <= expected.value
    assert expected.lower_bound <= found.value
    with pytest.raises(ValueError, match=r"compute_loss was 'Sum.compute_loss', now it is None"):
        kt.taylor_optimum(recorded, plain, verbose=0)


class Undeclared(keras.Model):
    """Says nothing of convexity."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y, y_pred, sample_weight) + ops.mean(ops.sin(y_pred))


def test_there_is_no_optimum_of_what_is_not_known_to_be_convex(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, recorded = _recorded(Undeclared, tmp_path)
        with pytest.raises(ValueError, match=r"Undeclared.compute_loss is not known to be convex"):
            kt.taylor_optimum(recorded, model, verbose=0)
        # Another loss on purpose has one.
        assert kt.taylor_optimum(recorded, model, loss="mse", max_passes=3, verbose=0).value > 0


def test_examples_are_not_drawn_from_it(tmp_path):
    model = _model(Sum)
    data = [(X.astype("float32"), Y.astype("float32"))] * 8
    with pytest.raises(ValueError, match="not known whether some examples have, on average"):
        kt.record(model, data, tmp_path / "run", steps=8, sample=4, examples=2, verbose=0)
