"""Losses with kinks, and smooth ones just below them, for which second-order steps work.

A smoothed loss of width w is convex and lies below the true one by at most a multiple of w. So a
lower bound of its minimum is one of the true minimum, and its minimiser is nearly that too.
"""

import keras
import numpy as np
from keras import losses, ops

from keras_taylor.optimum import ball
from keras_taylor.optimum.passes import OutOfPassesError

# Widths relative to the loss: the first one, and by how much it shrinks each time.
FIRST_WIDTH = 1 / 8
SHRINKAGE = 1 / 4
MOST_WIDTHS = 24
NARROWEST = 1e-30


def smooth_absolute(x, width):
    """Returns `|x| - w/2` where `|x| > w`, and `x^2 / 2w` within: Huber's function over w."""
    size = ops.abs(x)
    return ops.where(size < width, size * size / (2 * width), size - width / 2)


def smooth_positive(x, width):
    """Returns 0 below zero, `x - w/2` above w, and `x^2 / 2w` between."""
    inside = ops.clip(x, 0.0, width)
    return ops.maximum(x - width, 0.0) + inside * inside / (2 * width)


def _absolute(y, f, width):
    return ops.mean(smooth_absolute(y - f, width), axis=-1)


def _percentage(y, f, width):
    scale = ops.maximum(ops.abs(y), keras.config.epsilon())
    return 100.0 * ops.mean(smooth_absolute((y - f) / scale, width), axis=-1)


def _hinge(y, f, width):
    is_binary = ops.all(ops.logical_or(ops.equal(y, 0), ops.equal(y, 1)))
    return ops.mean(smooth_positive(1 - ops.where(is_binary, 2 * y - 1, y) * f, width), axis=-1)


def _categorical_hinge(y, f, width):
    wrong = (1 - y) * f
    # At most the maximum, and above it less log(classes) widths.
    largest = ops.logsumexp(wrong / width, axis=-1) - ops.log(ops.cast(f.shape[-1], f.dtype))
    return smooth_positive(width * largest - ops.sum(y * f, axis=-1) + 1, width)


SMOOTH = {
    losses.mean_absolute_error: _absolute,
    losses.mean_absolute_percentage_error: _percentage,
    losses.hinge: _hinge,
    losses.categorical_hinge: _categorical_hinge,
}


def is_kinked(loss):
    """Tells whether a Keras loss is one of those with kinks that can be smoothed."""
    return getattr(loss, "fn", None) in SMOOTH


class Smoothed(losses.Loss):
    """A Keras loss with its kinks rounded off from below.

    Args:
        loss: A Keras loss, one of those that `is_kinked` knows.
        width: A variable; how far from a kink the loss is changed.
    """

    convex_in_output = True

    def __init__(self, loss, width):
        super().__init__(name=loss.name, reduction=loss.reduction, dtype=loss.dtype)
        self._function, self._width = SMOOTH[loss.fn], width

    def call(self, y_true, y_pred):
        """Returns the smoothed loss of each example."""
        y = ops.cast(y_true, y_pred.dtype)
        if len(y.shape) < len(y_pred.shape):
            y = ops.expand_dims(y, -1)
        elif len(y.shape) > len(y_pred.shape):
            y_pred = ops.expand_dims(y_pred, -1)
        return self._function(y, y_pred, ops.cast(self._width, y_pred.dtype))


class Kinked:
    """A problem with kinks beside its smoothed one.

    Args:
        make: Function that returns the problem for a function from Keras losses to Keras losses.
    """

    def __init__(self, make):
        self._width = keras.Variable(1.0, dtype="float64", trainable=False, name="width")
        self._true = make(lambda loss: loss)
        self._smooth = make(lambda loss: Smoothed(loss, self._width) if is_kinked(loss) else loss)
        self.value_and_gradient = self._smooth.value_and_gradient
        self.curvature = self._smooth.curvature

    @property
    def count(self):
        """How many of the rounds F is over, from the first on."""
        return self._true.count

    @count.setter
    def count(self, count):
        self._true.count = self._smooth.count = count

    def losses(self, v):
        """Returns the true Taylor loss of each round at a vector."""
        return self._true.losses(v)

    def narrow(self, width):
        """Sets the width of the smoothed losses."""
        self._width.assign(width)

    def true_value(self, v):
        """Returns F itself at a vector."""
        return self._true.value_and_gradient(v)[0]


def minimize(passes, problem, center, radius, tolerance, start=None):
    """Minimises F with kinks over a ball, by smoothed ones of shrinking width.

    Args:
        passes: A `keras_taylor.optimum.passes.Passes` of the problem.
        problem: A `Kinked`.
        center: c, a float64 vector.
        radius: R.
        tolerance: The gap to reach, relative to the value.
        start: A point to start from; defaults to c.

    Returns:
        A `keras_taylor.optimum.ball.Interval` of the true F.
    """
    point = ball.inside(center if start is None else start, center, radius)
    best, width = ball.Interval(point, np.inf, -np.inf), None
    for _ in range(MOST_WIDTHS):
        try:
            value = passes.true_value(point)
        except OutOfPassesError:
            return best
        if value < best.value:
            best = ball.Interval(point, value, best.lower_bound)
        if best.reached(tolerance) or not passes.has_left(2):
            return best
        width = FIRST_WIDTH * abs(value) if width is None else SHRINKAGE * width
        problem.narrow(max(width, NARROWEST))
        # The last pass evaluates F itself.
        passes.reserved = 1
        (found,) = ball.minimize(passes, center, [radius], tolerance / 2, start=point)
        passes.reserved = 0
        best.lower_bound = max(best.lower_bound, found.lower_bound)
        point = found.point
    return best
