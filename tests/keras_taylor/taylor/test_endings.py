"""Models that end in probabilities, each against the same model with the logits as its outputs."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, losses

import keras_taylor as kt

EXAMPLES, PLACES, CLASSES = 6, 4, 3


def _through(name):
    """Returns what a model does with its logits."""
    dense = layers.Dense
    return {
        "dense": dense(CLASSES, "softmax"),
        "time_distributed": layers.TimeDistributed(dense(CLASSES, "softmax")),
        "reshape": lambda h: layers.Reshape((PLACES, CLASSES))(dense(CLASSES, "softmax")(h)),
        "tensorflow": dense(CLASSES, tf.nn.softmax),
        "wrapped": dense(CLASSES, lambda z: keras.activations.softmax(z) * 1.0),
        "rescaled": lambda h: layers.Rescaling(0.5)(dense(CLASSES, "softmax")(h)),
        "identity": lambda h: layers.Identity()(dense(CLASSES, "softmax")(h)),
        "dropped": lambda h: layers.Dropout(0.0)(dense(CLASSES, "softmax")(h)),
        "passed_on": lambda h: layers.Lambda(lambda p: p)(dense(CLASSES, "softmax")(h)),
        "regularised": lambda h: layers.ActivityRegularization()(dense(CLASSES, "softmax")(h)),
    }[name]


def _model(build, loss):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((PLACES, 5))
    model = keras.Model(inputs, build(inputs))
    model.compile(keras.optimizers.SGD(0.0), loss=loss)
    return model


def _data(one_hot=True):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, (EXAMPLES, PLACES))
    x = generator.normal(size=(EXAMPLES, PLACES, 5)).astype("float32")
    return x, np.eye(CLASSES, dtype="float32")[labels] if one_hot else labels


def _near(model):
    generator = np.random.default_rng(1)
    return [
        v.numpy() + generator.normal(size=v.shape).astype("float32")
        for v in model.trainable_variables
    ]


ENDINGS = (
    "dense",
    "time_distributed",
    "reshape",
    "tensorflow",
    "wrapped",
    "rescaled",
    "identity",
    "dropped",
    "passed_on",
    "regularised",
)


@pytest.mark.parametrize(
    ("ending", "scope"),
    [*((ending, "network") for ending in ENDINGS), (next(iter(ENDINGS)), "units")],
)
def test_a_softmax_is_expanded_at_its_logits(ending, scope):
    x, y = _data()
    model = _model(_through(ending), "categorical_crossentropy")
    logits = _model(layers.Dense(CLASSES), losses.CategoricalCrossentropy(from_logits=True))
    logits.set_weights(model.get_weights())
    comparator = _near(model)
    found = kt.taylor_loss(model, x, y, comparator, scope)
    expected = kt.taylor_loss(logits, x, y, comparator, scope)
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_gradients_in_the_comparator():
    x, y = _data()
    model = _model(_through("tensorflow"), "categorical_crossentropy")
    logits = _model(layers.Dense(CLASSES), losses.CategoricalCrossentropy(from_logits=True))
    comparator = _near(model)
    _, found = kt.taylor_loss_and_gradient(model, x, y, comparator)
    _, expected = kt.taylor_loss_and_gradient(logits, x, y, comparator)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", [tf.nn.sigmoid, lambda z: 1 / (1 + keras.ops.exp(-z))])
def test_a_sigmoid_of_ones_own(activation):
    x, y = _data()
    model = _model(layers.Dense(CLASSES, activation), "binary_crossentropy")
    logits = _model(layers.Dense(CLASSES), losses.BinaryCrossentropy(from_logits=True))
    comparator = [0.3 * v for v in _near(model)]
    found = kt.taylor_loss(model, x, y, comparator)
    np.testing.assert_allclose(found, kt.taylor_loss(logits, x, y, comparator), rtol=1e-5)


def test_an_average_of_probabilities_has_the_loss_of_training_at_its_weights():
    x, labels = _data(one_hot=False)

    def build(h):
        return layers.Average()([layers.Dense(CLASSES, "softmax")(h) for _ in range(2)])

    model = _model(build, "sparse_categorical_crossentropy")
    weights = [v.numpy() for v in model.trainable_variables]
    expected = model.evaluate(x, labels, verbose=0)
    np.testing.assert_allclose(kt.taylor_loss(model, x, labels, weights), expected, rtol=1e-5)


@pytest.mark.parametrize("ending", ["dense", "tensorflow"])
def test_divergence_from_soft_targets_is_expanded_at_the_logits(ending):
    x, y = _data()
    y = 0.7 * y + 0.1
    model = _model(_through(ending), "kl_divergence")
    logits = _model(layers.Dense(CLASSES), losses.CategoricalCrossentropy(from_logits=True))
    comparator = [0.3 * v for v in _near(model)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = kt.taylor_loss(model, x, y, comparator)
        graph = tf.function(kt.taylor_loss)(model, x, y, comparator)
    entropy = -np.mean(np.sum(y * np.log(y), axis=-1))
    expected = kt.taylor_loss(logits, x, y, comparator) - entropy
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(graph, found, rtol=1e-5)


def test_divergence_of_what_is_no_distribution_is_expanded_at_the_output():
    x, y = _data()
    model = _model(layers.Dense(CLASSES, "sigmoid"), "kl_divergence")
    weights = [v.numpy() for v in model.trainable_variables]
    expected = model.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(kt.taylor_loss(model, x, y, weights), expected, rtol=1e-5)


class TestLossesOfOnesOwn:
    """What a model trains on in another way than by its compiled loss is not left out."""

    class OwnStep(keras.Model):
        def train_step(self, data):
            return super().train_step(data)

    def test_a_training_step_of_ones_own(self):
        x, y = _data()
        inputs = keras.Input((PLACES, 5))
        model = self.OwnStep(inputs, layers.Dense(CLASSES)(inputs))
        model.compile("sgd", "mse")
        weights = [v.numpy() for v in model.trainable_variables]
        message = "has a train_step of its own"
        with pytest.raises(ValueError, match=message):
            kt.taylor_loss(model, x, y, weights)
        with pytest.raises(ValueError, match=message):
            kt.TaylorModel.from_model(model)
        expected = np.mean((model(x) - y) ** 2)
        given = kt.taylor_loss(model, x, y, weights, loss="mse")
        np.testing.assert_allclose(given, expected, rtol=1e-5)

    def test_a_subclass_of_the_taylor_model(self):
        class Own(kt.TaylorModel):
            def train_step(self, data):
                return super().train_step(data)

        inputs = keras.Input((PLACES, 5))
        model = Own(inputs, layers.Dense(CLASSES)(inputs))
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match="Own has a train_step of its own"):
            model.fit(*_data(), verbose=0)

    def test_add_loss_alone(self):
        class Adding(layers.Layer):
            def call(self, x):
                self.add_loss(keras.ops.mean(x**2))
                return x

        model = _model(lambda h: Adding()(layers.Dense(CLASSES)(h)), loss=None)
        weights = [v.numpy() for v in model.trainable_variables]
        with pytest.raises(ValueError, match="add_loss.*alone"):
            kt.taylor_loss(model, *_data(), weights)
