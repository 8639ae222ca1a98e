"""F of losses with kinks, by smooth ones just below them, for which second-order steps work.

A smoothed loss of width w is convex and lies below the true one by at most a multiple of w. So a
lower bound of its minimum is one of the true minimum, and its minimiser is nearly that too.

Source: Nesterov, Smooth minimization of non-smooth functions, Math. Program. 103 (2005). Different
from it, the width shrinks in stages, each minimised by Newton steps from the stage before, and
lower bounds are certificates of the smoothed F instead of a bound from the width.
"""

import keras
import numpy as np
from keras import losses, ops

from keras_taylor.optimum import ball
from keras_taylor.optimum.objective import Objective
from keras_taylor.optimum.passes import OutOfPassesError
from keras_taylor.optimum.streamed import StreamedObjective
from keras_taylor.taylor.convexity import is_kinked

# Widths relative to the loss: the first one, and the factor from each to the next.
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


class Smoothed(losses.Loss):
    """A Keras loss with its kinks rounded off from below.

    Args:
        loss: A Keras loss, one of `keras_taylor.taylor.convexity.KINKED`.
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


class KinkedObjective(Objective):
    """F of a loss with kinks, beside the smooth one that stands for it.

    Args:
        true: The objective of the loss itself.
        smooth: The `SmoothObjective` of the smoothed loss.
        width: The variable that holds the smoothed loss's width.
    """

    def __init__(self, true, smooth, width):
        self._true, self._smooth, self._width = true, smooth, width
        self.part, self.horizon = true.part, true.horizon

    def over_first(self, horizon):
        smooth = self._smooth.over_first(horizon)
        return KinkedObjective(self._true.over_first(horizon), smooth, self._width)

    def value_and_gradient(self, point):
        return self._true.value_and_gradient(point)

    def losses(self, point, check=False):
        return self._true.losses(point, check)

    def minimize(self, budget, center, radii, tolerance, warm_start):
        return [self._minimum(budget, center, radius, tolerance, warm_start) for radius in radii]

    def _minimum(self, budget, center, radius, tolerance, warm_start):
        """Returns the interval over one ball, by smoothed losses of shrinking width."""
        point = ball.inside(warm_start, center, radius)
        best, width = ball.Interval(point, np.inf, -np.inf), None
        for _ in range(MOST_WIDTHS):
            try:
                value, _ = budget.take(self.value_and_gradient, point)
            except OutOfPassesError:
                return best
            if value < best.value:
                best = ball.Interval(point, value, best.lower_bound, best.scale)
            if best.reached(tolerance) or not budget.has_left(2):
                return best
            width = FIRST_WIDTH * abs(value) if width is None else SHRINKAGE * width
            self._width.assign(max(width, NARROWEST))
            # The last pass evaluates F itself.
            budget.reserved = 1
            (found,) = self._smooth.minimize(budget, center, [radius], 0.5 * tolerance, point)
            budget.reserved = 0
            best.lower_bound = max(best.lower_bound, found.lower_bound)
            best.scale = max(best.scale, found.scale)
            budget.best = best
            point = found.point
        return best


def kinked_objective(rounds, part):
    """Returns the `KinkedObjective` of a part over the rounds of a trajectory."""
    width = keras.Variable(1.0, dtype="float64", trainable=False, name="width")

    def smoothed(loss):
        return Smoothed(loss, width) if is_kinked(loss) else loss

    # What is smoothed is piecewise quadratic, not quadratic.
    smooth = StreamedObjective(rounds, part, smoothed, is_quadratic=False)
    return KinkedObjective(StreamedObjective(rounds, part), smooth, width)
