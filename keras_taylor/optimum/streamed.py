"""F of any part, by passes through the model over rounds that are read from disk or memory."""

import copy
import functools

import numpy as np
import tensorflow as tf
from keras import ops

from keras_taylor.optimum import ball, preconditioner
from keras_taylor.optimum.loop import over_rounds
from keras_taylor.optimum.objective import SmoothObjective
from keras_taylor.optimum.passes import Passes
from keras_taylor.taylor.batch import expand, loss_at, value_and_gradient
from keras_taylor.taylor.curvature import curvature_product, curvature_sample

# A preconditioner serves up to this multiple of the rounds that it was made from.
MOST_GROWTH = 4


class StreamedObjective(SmoothObjective):
    """F of one part and its derivatives, each a single call into a graph that streams rounds.

    Values and gradients, from which bounds follow, are computed in float64; curvature products only
    say where to look, and have the model's precision, unless the objective is `sharpened`.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        part: The `keras_taylor.weights.parts.Part`.
        function: Function from a Keras loss to the one in its place.
        is_quadratic: Whether F is quadratic; by default whether the loss is known to be.
    """

    can_prepare = True

    def __init__(self, rounds, part, function=lambda loss: loss, is_quadratic=None):
        self.part, self.horizon = part, len(rounds)
        self.is_quadratic = rounds.loss.is_quadratic if is_quadratic is None else is_quadratic
        self._rounds, self._is_precise = rounds, False
        self._compiled = {wide: rounds.replaced_loss(function, wide) for wide in (False, True)}
        self._value = tf.function(self._summed_value, autograph=False)
        self._curvature = {
            wide: tf.function(functools.partial(self._summed_curvature, wide), autograph=False)
            for wide in (False, True)
        }
        self._losses = {
            check: tf.function(functools.partial(self._losses_by_round, check), autograph=False)
            for check in (False, True)
        }
        self._factors = tf.function(self._summed_factors, autograph=False)
        # The preconditioner and the horizon it was made for, shared by all horizons.
        self._prepared = {}

    def over_first(self, horizon):
        other = copy.copy(self)
        other.horizon = horizon
        return other

    def minimize(self, budget, center, radii, tolerance, warm_start):
        passes = Passes(self, budget)
        return ball.minimize(passes, center, radii, tolerance, self.is_quadratic, warm_start)

    @property
    def preconditioner(self):
        horizons = [made for made in self._prepared if self.horizon <= MOST_GROWTH * made]
        return self._prepared[horizons[-1]] if horizons else None

    def prepare(self):
        sums = self._factors(self._most())
        means = [[None if s is None else s.numpy() / self.horizon for s in three] for three in sums]
        self._prepared.clear()
        self._prepared[self.horizon] = preconditioner.Kronecker(self.part, means)

    def sharpened(self):
        if self._is_precise or self._rounds.wide_model is self._rounds.model:
            return None
        other = copy.copy(self)
        other._is_precise = True
        return other

    def value_and_gradient(self, point):
        value, gradient = self._value(self._tensors(point), self._most())
        return float(value) / self.horizon, self._mean(gradient)

    def curvature_product(self, point, vector):
        zero = [np.zeros(shape) for shape in self.part.scopes.shapes]
        vector = [tf.constant(a) for a in self.part.arrays(vector, zero)]
        curvature = self._curvature[self._is_precise]
        return self._mean(curvature(self._tensors(point), vector, self._most()))

    def losses(self, point, check=False):
        return self._losses[check](self._tensors(point), self._most(check)).numpy()

    def _most(self, check=False):
        kept = self._rounds.checked if check else self._rounds.kept
        return tf.constant(kept(self.horizon), "int64")

    def _weigh(self, weight, terms):
        """Returns what one round adds to sums: terms times the rounds that it stands for."""
        if not self._rounds.is_sampled:
            return terms
        return [None if term is None else weight * ops.cast(term, "float64") for term in terms]

    def _tensors(self, point):
        return [tf.constant(a) for a in self.part.arrays(point, self._rounds.first)]

    def _mean(self, sums):
        return self.part.vector([s.numpy() for s in sums]) / self.horizon

    def _direction(self, batch, v):
        moves = [ops.cast(a, w.dtype) - w for a, w in zip(v, batch.weights, strict=True)]
        return self.part.cut(moves)

    def _batch(self, tensors, wide):
        return self._rounds.batch(tensors, self._compiled[wide], wide)

    def _summed_value(self, v, most):
        def add(sums, _, round):
            weight, tensors = round
            batch = self._batch(tensors, wide=True)
            value, gradient = value_and_gradient(batch, self._direction(batch, v))
            return added(sums, self._weigh(weight, [value, *gradient]))

        start = (tf.constant(0.0, "float64"), *zeros(v))
        value, *gradient = over_rounds(self._rounds.dataset, most, start, add)
        return value, gradient

    def _summed_curvature(self, wide, v, p, most):
        def add(sums, _, round):
            weight, tensors = round
            batch = self._batch(tensors, wide)
            vector = [ops.cast(a, w.dtype) for a, w in zip(p, batch.weights, strict=True)]
            direction = self._direction(batch, v)
            product = curvature_product(batch, direction, self.part.cut(vector))
            return added(sums, self._weigh(weight, product))

        return over_rounds(self._rounds.dataset, most, zeros(v), add)

    def _summed_factors(self, most):
        def add(sums, number, round):
            weight, tensors = round
            sample = curvature_sample(self._batch(tensors, wide=False), number)
            found = _known(preconditioner.products(self.part, sample))
            return added(sums, self._weigh(weight, found))

        blank = preconditioner.products(self.part, list(map(tf.zeros, self.part.scopes.shapes)))
        sums = iter(over_rounds(self._rounds.dataset, most, _known(blank), add))
        return [[None if one is None else next(sums) for one in three] for three in blank]

    def _losses_by_round(self, check, v, most):
        def put(losses, number, round):
            _, tensors = round
            batch = self._batch(tensors, wide=True)
            expanded = expand(batch, [self._direction(batch, v)])
            value = ops.cast(loss_at(batch, expanded, 0), "float64")
            return (tf.tensor_scatter_nd_update(losses[0], [[number]], [value]),)

        dataset = self._rounds.check_dataset if check else self._rounds.dataset
        return over_rounds(dataset, most, [tf.zeros(most, "float64")], put)[0]


def agrees(objective, through_model, point, tolerance):
    """Tells whether F and its gradient at a point are those of passes through the model.

    Args:
        objective: An `Objective` that is not computed by such passes.
        through_model: The `StreamedObjective` of the same part.
        point: The point.
        tolerance: How far value and gradient may be away, relative to their size.
    """
    found = (one.value_and_gradient(point) for one in (objective, through_model))
    return all(
        np.linalg.norm(one - other) <= tolerance * max(np.linalg.norm(other), 1e-6)
        for one, other in zip(*found, strict=True)
    )


def zeros(tensors):
    """Returns float64 sums of nothing, one for each tensor."""
    return tuple(tf.zeros(tensor.shape, "float64") for tensor in tensors)


def added(sums, terms):
    """Returns float64 sums, each with a term added."""
    return tuple(s + ops.cast(term, "float64") for s, term in zip(sums, terms, strict=True))


def _known(tensors):
    return [one for several in tensors for one in several if one is not None]
