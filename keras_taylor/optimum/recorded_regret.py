"""Linear regret and its guarantee over recorded rounds, where no tracker summed them in training.

Over a sample of rounds the guarantee is an estimate from the fit sample. Linear regret has none: it
has the norm of a sum over all rounds, and that of a few hundred of many thousand gradients, times
the rounds that each stands for, is mostly the error of sampling.
"""

import math

import numpy as np
import tensorflow as tf
from keras import ops

from keras_taylor.optimum.passes import StreamedPasses
from keras_taylor.taylor.batch import value_and_gradient


class RecordedLinearRegret:
    """Linear regret and guarantee of every part over some rounds, from one pass over them.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        horizons: The numbers of rounds that are asked for later, in rising order.
    """

    def __init__(self, rounds, horizons):
        self._rounds, self._sums = rounds, {}
        compiled = rounds.replaced_loss(wide=True)

        def operator(weight, tensors, number):
            del number
            return rounds.batch(tensors, compiled, wide=True), weight

        def terms(batch, *first):
            return self._terms(batch, first)

        passes = StreamedPasses(rounds.dataset, operator)
        blank = np.zeros(rounds.scopes.unit_count)
        sums = [blank, blank, *map(np.zeros_like, rounds.first)]
        for begin, end in zip([0, *horizons], horizons, strict=False):
            kept = rounds.kept(end)
            sums = passes.sum(terms, rounds.first, sums, kept, begin=rounds.kept(begin))
            self._sums[end] = sums[0], sums[1], sums[2:]

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

    def _terms(self, batch, first):
        """Returns what a round adds, by unit and by weight."""
        batch, weight = batch
        scopes = self._rounds.scopes
        still = [ops.zeros_like(each) for each in batch.weights]
        _, gradient = value_and_gradient(batch, still)
        gradient = [ops.cast(g, "float64") for g in gradient]
        squares = [ops.square(g) for g in gradient]
        pairs = zip(batch.weights, first, strict=True)
        moves = [ops.cast(w, "float64") - tf.ensure_shape(f, w.shape) for w, f in pairs]
        products = [g * move for g, move in zip(gradient, moves, strict=True)]
        by_unit = [scopes.unit_sums(scopes.matrices(some)) for some in (products, squares)]
        return [weight * term for term in (*by_unit, *gradient)]
