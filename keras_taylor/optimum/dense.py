"""F of dense layers and their units, without passes through the model, in float64.

For a dense layer with inputs h (a one appended where it has a bias), pre-activation `z = V h` and
the outputs' Jacobian `D = df/dz`, all of example i at its own round,

    T(V) = f_i + D_i (V h_i - z_i).

So F depends only on h, z, D, f of all rounds. They are collected in one pass, and F and its
derivatives are matrix products of them. Where the loss is quadratic and has more outputs than the
layer has units, its expansion at f, `D' dl/df` and `D' H D` (H its curvature), stands for D and f.
"""

import copy

import numpy as np
import tensorflow as tf

from keras_taylor.optimum import ball, dense_features
from keras_taylor.optimum.objective import SmoothObjective
from keras_taylor.optimum.passes import Passes
from keras_taylor.optimum.streamed import StreamedObjective, agrees
from keras_taylor.weights.parts import Part

# How far F and its gradient may be from what passes through the model give, by precision.
AGREEMENT = {"float32": 1e-3, "float64": 1e-9}


def dense_objective(rounds, part):
    """Returns the `DenseObjective` of a part, or `None` where passes have to go through the model.

    That is the case for parts other than a dense layer or a unit of one, inputs with open axes
    besides the examples', several outputs, penalties, batches of different sizes, layers that treat
    examples together (BatchNormalization in training), and features too large to keep. The features
    are checked once against a pass through the model at the first weights.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        part: The `keras_taylor.weights.parts.Part`.
    """
    features = None if part.layer is None else features_of(rounds, part.layer)
    return None if features is None else DenseObjective(rounds, part, features)


def features_of(rounds, layer):
    """Returns the checked `Features` of the layer of a key, or `None` where it has none."""
    return rounds.remember(layer, "features", lambda: _checked_features(rounds, layer))


def _checked_features(rounds, key):
    features = dense_features.collect(rounds, key)
    if features is None:
        return None
    part = Part(rounds.scopes, f"layer:{key}")
    tolerance = AGREEMENT.get(rounds.wide_model.trainable_variables[0].dtype, 0.0)
    objectives = DenseObjective(rounds, part, features), StreamedObjective(rounds, part)
    return features if agrees(*objectives, part.vector(rounds.first), tolerance) else None


class DenseObjective(SmoothObjective):
    """F of a dense layer or a unit and its derivatives, on features; made by `dense_objective`.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        part: The `keras_taylor.weights.parts.Part`.
        features: The `Features` of its layer.
    """

    def __init__(self, rounds, part, features):
        self.part, self.horizon, self._is_quadratic = part, len(rounds), rounds.loss.is_quadratic
        self._rounds, self._graphs = rounds, features.graphs
        self._features = features if part.unit is None else features.of_unit(part.unit)

    def over_first(self, horizon):
        other = copy.copy(self)
        other.horizon = horizon
        return other

    def minimize(self, budget, center, radii, tolerance, warm_start):
        passes = Passes(self, budget)
        return ball.minimize(passes, center, radii, tolerance, self._is_quadratic, warm_start)

    def value_and_gradient(self, point):
        matrix = self._matrix(point)
        found = [self._graphs.value(matrix, chunk) for chunk in self._chunks()]
        value = sum(float(value) for value, _ in found) / self.horizon
        return value, self._mean(gradient for _, gradient in found)

    def curvature_product(self, point, vector):
        matrix, direction = self._matrix(point), self._matrix(vector)
        return self._mean(
            self._graphs.curvature_product(matrix, direction, chunk) for chunk in self._chunks()
        )

    def losses(self, point, check=False):
        matrix, chunks = self._matrix(point), self._chunks(check)
        return np.concatenate([self._graphs.losses(matrix, chunk).numpy() for chunk in chunks])

    def _chunks(self, check=False):
        if check:
            return self._features.check.first(self._rounds.checked(self.horizon))
        return self._features.first(self._rounds.kept(self.horizon))

    def _matrix(self, vector):
        chunk = self._features.chunks[0]
        shape = (chunk["inputs"].shape[-1], chunk["before"].shape[-1])
        return tf.constant(vector.reshape(shape), chunk["inputs"].dtype)

    def _mean(self, gradients):
        return sum(g.numpy().astype("float64") for g in gradients).ravel() / self.horizon
