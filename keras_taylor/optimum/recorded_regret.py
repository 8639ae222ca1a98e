"""Linear regret over recorded rounds, where no tracker summed it while they were trained.

Over a sample of rounds it is an estimate from the fit sample, on average at least the true one,
since the norm of a sum that is right on average is on average too large.
"""

import numpy as np
import tensorflow as tf
from keras import ops

from keras_taylor.optimum.streamed import added, zeros
from keras_taylor.taylor.batch import value_and_gradient


class RecordedLinearRegret:
    """Linear regret of every part over the first rounds of a trajectory, from one pass over it.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        horizons: The numbers of rounds that are asked for later, in rising order.
    """

    def __init__(self, rounds, horizons):
        self._rounds, self._sums = rounds, {}
        self._compiled = rounds.replaced_loss(wide=True)
        summed = tf.function(self._summed, autograph=False)
        first = [tf.constant(a) for a in rounds.first]
        products, gradients = 0.0, [0.0] * len(first)
        for begin, end in zip([0, *horizons], horizons, strict=False):
            ends = [tf.constant(rounds.kept(horizon), "int64") for horizon in (begin, end)]
            more, *terms = summed(first, *ends)
            products = products + more.numpy()
            gradients = [g + term.numpy() for g, term in zip(gradients, terms, strict=True)]
            self._sums[end] = products, gradients

    def average(self, part, radius, horizon):
        """Returns the linear regret of a part within a radius, divided by the number of rounds."""
        products, gradients = self._sums[horizon]
        bound = radius * np.linalg.norm(part.vector(gradients))
        return float((products[list(part.units)].sum() + bound) / horizon)

    def _summed(self, first, begin, end):
        scopes = self._rounds.scopes

        def add(sums, round):
            weight, tensors = round
            batch = self._rounds.batch(tensors, self._compiled, wide=True)
            still = [ops.zeros_like(weight) for weight in batch.weights]
            _, gradient = value_and_gradient(batch, still)
            gradient = [weight * ops.cast(g, "float64") for g in gradient]
            moves = [ops.cast(w, "float64") - f for w, f in zip(batch.weights, first, strict=True)]
            products = [g * move for g, move in zip(gradient, moves, strict=True)]
            return added(sums, [scopes.unit_sums(scopes.matrices(products)), *gradient])

        start = (tf.zeros(scopes.unit_count, "float64"), *zeros(first))
        return self._rounds.dataset.take(end).skip(begin).reduce(start, add)
