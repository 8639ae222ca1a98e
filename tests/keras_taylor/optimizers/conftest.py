"""A small model with all that matters to a wrapper, and training under many conditions."""

import keras
import numpy as np
import pytest

from keras_taylor.optimizers.wrapper import OptimizerWrapper


class Replay(keras.optimizers.SGD):
    """Plain SGD that keeps weights and gradients of each step; runs eagerly."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.kept = []

    def apply(self, grads, trainable_variables=None):
        variables = trainable_variables or self._trainable_variables
        weights = [variable.numpy().astype("float64") for variable in variables]
        self.kept.append((weights, [np.asarray(gradient, "float64") for gradient in grads]))
        super().apply(grads, trainable_variables)


class Recorded(OptimizerWrapper):
    """Keeps weights and gradients of each step for a NumPy reference; runs eagerly."""

    def __init__(self, inner_optimizer, **options):
        super().__init__(inner_optimizer, **options)
        self.kept = []

    def before_update(self, gradients, variables):
        weights = [variable.numpy().astype("float64") for variable in variables]
        self.kept.append((weights, [np.asarray(gradient, "float64") for gradient in gradients]))
        return gradients


def linear_regret(kept, pick, radius=None):
    """Linear regret of the entries that `pick` returns, in float64.

    Args:
        kept: Pairs of weights and gradients, one a round.
        pick: Function from arrays like the weights to the entries, an array.
        radius: R; by default the largest distance.
    """
    first = pick(kept[0][0])
    inner = sum(np.vdot(pick(g), pick(w) - first) for w, g in kept)
    distance = max(np.linalg.norm(pick(w) - first) for w, _ in kept)
    total = np.linalg.norm(sum(pick(g) for _, g in kept))
    return inner + (distance if radius is None else radius) * total


def flat(arrays):
    """The entries of arrays in one vector."""
    return np.concatenate([np.ravel(array) for array in arrays])


class Training:
    """Trains the same small network, on the same data, with whatever optimizer is given."""

    replay, recorded = Replay, Recorded
    linear_regret, flat = staticmethod(linear_regret), staticmethod(flat)

    def __init__(self):
        generator = np.random.default_rng(0)
        self.x = generator.normal(size=(96, 6)).astype("float32")
        self.y = generator.integers(0, 3, 96)

    def model(self, dtype=None, dropout=0.2):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6,))
        x = keras.layers.Dense(8, activation="relu", name="hidden", dtype=dtype)(inputs)
        x = keras.layers.BatchNormalization(name="normalization", dtype=dtype)(x)
        x = keras.layers.Dropout(dropout, dtype=dtype)(x)
        x = keras.layers.Dense(3, name="logits", kernel_regularizer="l2", dtype=dtype)(x)
        return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32")(x))

    def compile(self, optimizer, model=None, **options):
        model = model or self.model()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss=loss, **options)
        return model

    def fit(self, model, epochs=2, **options):
        options = {"batch_size": 16, "shuffle": False, "verbose": 0} | options
        return model.fit(self.x, self.y, epochs=epochs, **options)


@pytest.fixture(scope="session")
def make_training():
    return Training


@pytest.fixture
def training():
    return Training()
