"""Linear regret and its guarantee over recorded rounds, where no tracker summed them in training.

Over a sample of rounds the guarantee is an estimate from the fit sample. Linear regret has none: it
has the norm of a sum over all rounds, and that of a few hundred of many thousand gradients, times
the rounds that each stands for, is mostly the error of sampling.
"""

import math

import numpy as np
import tensorflow as tf
from keras import ops

from keras_taylor.optimum.loop import over_rounds
from keras_taylor.optimum.streamed import added, zeros
from keras_taylor.taylor.batch import value_and_gradient


class RecordedLinearRegret:
    """Linear regret and guarantee of every part over some rounds, from one pass over them.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        horizons: The numbers of rounds that are asked for later, in rising order.
    """

    def __init__(self, rounds, horizons):
        self._rounds, self._sums = rounds, {}
        self._compiled = rounds.replaced_loss(wide=True)
        summed = tf.function(self._summed, autograph=False)
        first = [tf.constant(a) for a in rounds.first]
        products, squares, gradients = 0.0, 0.0, [0.0] * len(first)
        for begin, end in zip([0, *horizons], horizons, strict=False):
            ends = [tf.constant(rounds.kept(horizon), "int64") for horizon in (begin, end)]
            more, more_squares, *terms = summed(first, *ends)
            products, squares = products + more.numpy(), squares + more_squares.numpy()
            gradients = [g + term.numpy() for g, term in zip(gradients, terms, strict=True)]
            self._sums[end] = products, squares, gradients

    def average(self, part, radius, horizon):
        """Returns the linear regret of a part within a radius, divided by the number of rounds.

        NaN where rounds are a sample: a `RegretTracker` sums over all.
        """
        if self._rounds.is_sampled:
            return math.nan
        products, _, gradients = self._sums[horizon]
        bound = radius * np.linalg.norm(part.vector(gradients))
        return float((products[list(part.units)].sum() + bound) / horizon)

    def average_guarantee(self, part, radius, horizon):
        """Returns `R sqrt(sum of ||g||^2)` of a part, divided by the number of rounds.

        NaN where the examples of a round are a sample, whose gradients are longer than the round's.
        """
        if self._rounds.is_sampled and self._rounds.draws_examples:
            return math.nan
        _, squares, _ = self._sums[horizon]
        return float(radius * math.sqrt(squares[list(part.units)].sum()) / horizon)

    def _summed(self, first, begin, end):
        scopes = self._rounds.scopes

        def add(sums, _, round):
            weight, tensors = round
            batch = self._rounds.batch(tensors, self._compiled, wide=True)
            still = [ops.zeros_like(weight) for weight in batch.weights]
            _, gradient = value_and_gradient(batch, still)
            gradient = [ops.cast(g, "float64") for g in gradient]
            squares = [ops.square(g) for g in gradient]
            moves = [ops.cast(w, "float64") - f for w, f in zip(batch.weights, first, strict=True)]
            products = [g * move for g, move in zip(gradient, moves, strict=True)]
            by_unit = [scopes.unit_sums(scopes.matrices(some)) for some in (products, squares)]
            return added(sums, [weight * term for term in (*by_unit, *gradient)])

        blank = tf.zeros(scopes.unit_count, "float64")
        start = (blank, blank, *zeros(first))
        return over_rounds(self._rounds.dataset, end, start, add, begin)
