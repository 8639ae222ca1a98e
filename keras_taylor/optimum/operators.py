"""Outputs as affine functions of the weights of a part, for one round or some rounds at once.

    T(V) = T(W) + J (V - W)

Every Taylor loss is a convex function phi of such outputs. An operator has the outputs, products
with J (`jvp`) and its transpose (`vjp`), and phi; `keras_taylor.optimum.objective` makes F of
these. Operators live in graphs: `keras_taylor.optimum.passes` sums over the rounds.
"""

import abc

import tensorflow as tf
from keras import ops

from keras_taylor.derivatives import expansion
from keras_taylor.taylor.batch import expand, moved, output_loss_at
from keras_taylor.taylor.unit_losses import by_example


class OutputOperator(abc.ABC):
    """Outputs that are affine in a part's weights, and the losses of these outputs; abstract.

    Points V and vectors are float64 tensors `(size,)`. Outputs are a list of tensors. With a batch
    axis of units, points and vectors are `(units, size)` and outputs `(units, ...)`: each unit
    moves by itself.
    """

    @abc.abstractmethod
    def outputs(self, point, vector=None):
        """Returns `T(V)`, and `J v` or `None`. Without a point it is that of the round, V = W."""

    @abc.abstractmethod
    def vjp(self, slopes):
        """Returns `J' u` for u like the outputs that were returned last."""

    @abc.abstractmethod
    def loss(self, outputs):
        """Returns the sum over rounds of `w_n phi_n`, a scalar, or `(units,)`."""

    def hessian_product(self, outputs, vectors):
        """Returns the Hessian of `loss` at the outputs times vectors like these."""
        with tf.GradientTape() as outer:
            outer.watch(outputs)
            with tf.GradientTape() as inner:
                inner.watch(outputs)
                value = self.loss(outputs)
            slopes = expansion.gradients(inner, value, outputs)
            product = sum(ops.sum(s * v) for s, v in zip(slopes, vectors, strict=True))
        return expansion.gradients(outer, product, outputs)

    @abc.abstractmethod
    def losses(self, outputs):
        """Returns `phi_n` of each round, `(rounds,)` or `(rounds, units)`."""

    def penalty(self, point):
        """Returns the expanded penalties, the sum over rounds, and its gradient, or `None`."""
        del point


class ModelOperator(OutputOperator):
    """The outputs of a model on the batch of one round.

    Args:
        batch: The `keras_taylor.taylor.batch.Batch`.
        part: The `keras_taylor.weights.parts.Part`.
        weight: The number of rounds that it stands for, a float64 scalar.
        number: The place of the round, an integer tensor.
    """

    def __init__(self, batch, part, weight, number):
        self.number = number
        self._batch, self._part, self._weight = batch, part, weight
        self._expanded = None

    def outputs(self, point, vector=None):
        directions = [] if point is None else [self._move(point)]
        if vector is not None:
            directions.append(self._like_weights(self._part.tensors(vector)))
        self._expanded = expand(self._batch, directions)
        points = self._expanded.points if point is None else moved(self._expanded, 0)
        return points, None if vector is None else self._expanded.tangents[-1]

    def vjp(self, slopes):
        return self._part.flat(self._expanded.pullback(slopes))

    def loss(self, outputs):
        value = output_loss_at(self._batch, self._expanded, outputs)
        return value * ops.cast(self._weight, value.dtype)

    def losses(self, outputs):
        return output_loss_at(self._batch, self._expanded, outputs)[None]

    def penalty(self, point):
        expanded = self._expanded
        if expanded.penalty is None:
            return None
        gradient = self._part.flat(expanded.penalty_gradient)
        change = ops.sum(gradient * (point - self._part.flat(self._batch.weights)))
        value = ops.cast(expanded.penalty, "float64") + change
        return self._weight * value, self._weight * gradient

    def _move(self, point):
        own = self._part.tensors(point - self._part.flat(self._batch.weights))
        return self._like_weights(own)

    def _like_weights(self, tensors):
        pairs = zip(tensors, self._batch.weights, strict=True)
        return [None if t is None else ops.cast(t, w.dtype) for t, w in pairs]


def flat_outputs(outputs):
    """Returns the outputs of all examples as one float64 matrix `(examples, numbers)`."""
    flat = [ops.cast(by_example(output), "float64") for output in outputs]
    return flat[0] if len(flat) == 1 else tf.concat(flat, 1)
