"""Average Taylor losses over the rounds of a trajectory, read from disk or memory in each pass."""

import math

import numpy as np
import tensorflow as tf
from keras import ops

from keras_taylor.optimum import preconditioner
from keras_taylor.optimum.kinked import is_kinked
from keras_taylor.taylor.batch import Batch
from keras_taylor.taylor.outputs import OutputLoss, is_quadratic
from keras_taylor.weights.scopes import Scopes

# Rounds up to this size together are kept in memory rather than read again in each pass.
CACHED_BYTES = 2**31
# A preconditioner serves up to so many times the rounds that it was made from.
MOST_GROWTH = 4


class Rounds:
    """A trajectory with what is the same for all parts: first weights, distances, losses.

    Args:
        trajectory: A `keras_taylor.Trajectory`.
        model: A compiled model like the one that was recorded.
        loss: A Keras loss; `None` for the compiled one.

    Raises:
        ValueError: if there are no rounds, or the trajectory is of another model or damaged.
    """

    def __init__(self, trajectory, model, loss=None):
        if not len(trajectory):
            raise ValueError(f"trajectory {trajectory.path} has no rounds")
        trajectory.check_model(model)
        self.trajectory, self.model = trajectory, model
        self.output_loss = OutputLoss(model, loss)
        self.scopes = Scopes(model.trainable_variables)
        self.dataset = trajectory.dataset()
        size = sum(file.stat().st_size for file in trajectory.path.glob("*.tfrecord"))
        if size <= CACHED_BYTES:
            self.dataset = self.dataset.cache()
        self._remembered = None, None
        with trajectory.damage_told():
            self._look()

    def _look(self):
        self.first, losses, squares = None, [], []
        for tensors in self.dataset:
            weights, _, _, _, _, loss = self.trajectory.unpack(tensors)
            weights = [w.numpy().astype("float64") for w in weights]
            if self.first is None:
                self.first = weights
                self.batch(tensors).forward()
            moves = [(w - f) ** 2 for w, f in zip(weights, self.first, strict=True)]
            squares.append(np.asarray(self.scopes.unit_sums(self.scopes.matrices(moves))))
            losses.append(float(loss))
        self._losses, self._squares = losses, np.asarray(squares)
        self.is_quadratic = all(map(is_quadratic, self.output_loss.losses()))
        self.is_kinked = any(map(is_kinked, self.output_loss.losses()))

    def __len__(self):
        return len(self._losses)

    def losses(self, count=None):
        """Returns the recorded losses of the first rounds (of all, by default)."""
        return np.asarray(self._losses[:count])

    def average_loss(self, count=None):
        """Returns the mean of the recorded losses of the first rounds (of all, by default)."""
        losses = self._losses[:count]
        return math.fsum(losses) / len(losses)

    def travelled(self, part, count=None):
        """Returns the largest distance of a `Part` from the first weights within some rounds."""
        return float(np.sqrt(self._squares[:count, part.units].sum(axis=1).max()))

    def remember(self, key, make):
        """Returns `make()`, made once for the latest key: what is large and asked for in a row."""
        if self._remembered[0] != key:
            self._remembered = None, None
            self._remembered = key, make()
        return self._remembered[1]

    def batch(self, tensors, output_loss=None):
        """Returns the `Batch` of a round, in a graph."""
        weights, state, x, y, sample_weight, _ = self.trajectory.unpack(tensors)
        loss = output_loss or self.output_loss
        return Batch(
            self.model, x, y, sample_weight, loss, weights=list(weights), state=list(state)
        )


class Problem:
    """F of one part and its derivatives, each a single call into a graph that streams rounds.

    Args:
        rounds: The `Rounds`.
        part: The `keras_taylor.weights.parts.Part`.
        output_loss: The `OutputLoss` to use in place of the rounds' own.
    """

    def __init__(self, rounds, part, output_loss=None):
        self.part, self._count = part, len(rounds)
        self._rounds, self._output_loss = rounds, output_loss
        self._value = tf.function(self._summed_value, autograph=False)
        self._curvature = tf.function(self._summed_curvature, autograph=False)
        self._losses = tf.function(self._losses_by_round, autograph=False)
        self._factors = tf.function(self._summed_products, autograph=False)
        self.preconditioner, self._prepared = None, 0

    @property
    def count(self):
        """How many of the rounds F is over, from the first on."""
        return self._count

    @count.setter
    def count(self, count):
        self._count = count
        if count > MOST_GROWTH * self._prepared:
            self.preconditioner = None

    def prepare(self):
        """Makes a `preconditioner` for solves that take many passes, by one pass."""
        sums = self._factors(self._most())
        means = [[None if s is None else s.numpy() / self.count for s in three] for three in sums]
        self.preconditioner = preconditioner.Kronecker(self.part, means)
        self._prepared = self.count

    def value_and_gradient(self, v):
        """Returns F and its gradient at a vector, over the first `count` rounds."""
        value, gradient = self._value(self._tensors(v), self._most())
        return float(value) / self.count, self._mean(gradient)

    def curvature(self, v, p):
        """Returns the Hessian of F at a vector times another."""
        zero = [np.zeros(shape) for shape in self.part.scopes.shapes]
        direction = [tf.constant(a) for a in self.part.arrays(p, zero)]
        return self._mean(self._curvature(self._tensors(v), direction, self._most()))

    def losses(self, v):
        """Returns the Taylor loss of each of the first `count` rounds at a vector."""
        return self._losses(self._tensors(v), self._most()).numpy()

    def _most(self):
        return tf.constant(self.count, "int64")

    def _tensors(self, v):
        return [tf.constant(a) for a in self.part.arrays(v, self._rounds.first)]

    def _mean(self, sums):
        return self.part.vector([s.numpy() for s in sums]) / self.count

    def _displacement(self, batch, v):
        moved = [ops.cast(a, w.dtype) - w for a, w in zip(v, batch.weights, strict=True)]
        return self.part.cut(moved)

    def _batch(self, tensors):
        return self._rounds.batch(tensors, self._output_loss)

    def _summed_value(self, v, most):
        def add(sums, tensors):
            batch = self._batch(tensors)
            value, gradient = batch.value_and_gradient(self._displacement(batch, v))
            return _added(sums, [value, *gradient])

        zeros = (tf.constant(0.0, "float64"), *_zeros(v))
        value, *gradient = self._rounds.dataset.take(most).reduce(zeros, add)
        return value, gradient

    def _summed_curvature(self, v, p, most):
        def add(sums, tensors):
            batch = self._batch(tensors)
            directions = [ops.cast(a, w.dtype) for a, w in zip(p, batch.weights, strict=True)]
            part = self._displacement(batch, v)
            return _added(sums, batch.curvature_product(part, self.part.cut(directions)))

        return self._rounds.dataset.take(most).reduce(_zeros(v), add)

    def _summed_products(self, most):
        def add(sums, numbered):
            number, tensors = numbered
            found = preconditioner.products(
                self.part, self._batch(tensors).curvature_sample(number)
            )
            return _added(sums, _known(found))

        blank = preconditioner.products(self.part, list(map(tf.zeros, self.part.scopes.shapes)))
        zeros = tuple(_known(blank))
        sums = iter(self._rounds.dataset.take(most).enumerate().reduce(zeros, add))
        return [[None if one is None else next(sums) for one in three] for three in blank]

    def _losses_by_round(self, v, most):
        def put(losses, numbered):
            number, tensors = numbered
            batch = self._batch(tensors)
            part = self._displacement(batch, v)
            outputs, points, (tangents,) = batch.expand([part])
            value = ops.cast(batch.loss_at(outputs, points, tangents, part), "float64")
            return tf.tensor_scatter_nd_update(losses, [[number]], [value])

        numbered = self._rounds.dataset.take(most).enumerate()
        return numbered.reduce(tf.zeros(most, "float64"), put)


class LinearRegret:
    """Linear regret over the first rounds of a trajectory, from one pass over it.

    Args:
        rounds: The `Rounds`.
        counts: The numbers of rounds that are asked for later, in rising order.
    """

    def __init__(self, rounds, counts):
        self._rounds, self._sums = rounds, {}
        summed = tf.function(self._summed, autograph=False)
        first = [tf.constant(a) for a in rounds.first]
        products, gradients = 0.0, [0.0] * len(first)
        for start, end in zip([0, *counts], counts, strict=False):
            added, *more = summed(first, tf.constant(start, "int64"), tf.constant(end, "int64"))
            products = products + added.numpy()
            gradients = [g + m.numpy() for g, m in zip(gradients, more, strict=True)]
            self._sums[end] = products, gradients

    def average(self, part, radius, count):
        """Returns the linear regret of a part divided by the number of rounds."""
        products, gradients = self._sums[count]
        total = products[part.units].sum() + radius * np.linalg.norm(part.vector(gradients))
        return float(total / count)

    def _summed(self, first, start, end):
        scopes = self._rounds.scopes

        def add(sums, tensors):
            batch = self._rounds.batch(tensors)
            still = [ops.zeros_like(weight) for weight in batch.weights]
            _, gradient = batch.value_and_gradient(still)
            gradient = [ops.cast(g, "float64") for g in gradient]
            moves = [ops.cast(w, "float64") - f for w, f in zip(batch.weights, first, strict=True)]
            products = [g * move for g, move in zip(gradient, moves, strict=True)]
            return _added(sums, [scopes.unit_sums(scopes.matrices(products)), *gradient])

        zeros = (tf.zeros(scopes.unit_count, "float64"), *_zeros(first))
        return self._rounds.dataset.take(end).skip(start).reduce(zeros, add)


def _known(tensors):
    return [one for several in tensors for one in several if one is not None]


def _zeros(tensors):
    # Tuples, since tf.data would stack a list into one tensor.
    return tuple(tf.zeros_like(tensor) for tensor in tensors)


def _added(sums, terms):
    return tuple(s + ops.cast(term, "float64") for s, term in zip(sums, terms, strict=True))
