"""Nonsmooth losses by smooth ones just below them, for which second-order steps work.

A smoothed loss of width w is convex and lies below the true one by at most a multiple of w. So a
lower bound of its minimum is one of the true minimum, and its minimiser is nearly that too.

Source: Nesterov, Smooth minimization of non-smooth functions, Math. Program. 103 (2005). Different
from it, the width shrinks in stages, each minimised from the stage before, and lower bounds are
certificates of the smoothed F instead of a bound from the width.
"""

import contextlib
import dataclasses

import keras
from keras import losses, ops

from keras_taylor.optimum.certificate import Interval, inside
from keras_taylor.optimum.requests import Evaluate, OutOfPassesError
from keras_taylor.optimum.solver import Solver

# Widths relative to the loss: the first one, and the factor from each to the next.
FIRST_WIDTH, SHRINKAGE = 1 / 8, 1 / 4
MOST_WIDTHS, NARROWEST = 24, 1e-30


def smooth_absolute(x, width):
    """Returns `|x| - w/2` where `|x| > w`, and `x^2 / 2w` within: Huber's function over w."""
    size = ops.abs(x)
    return ops.where(size < width, size * size / (2 * width), size - width / 2)


def smooth_positive(x, width):
    """Returns 0 below zero, `x - w/2` above w, and `x^2 / 2w` between."""
    between = ops.clip(x, 0.0, width)
    return ops.maximum(x - width, 0.0) + between * between / (2 * width)


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
    """A nonsmooth Keras loss, smoothed from below.

    Args:
        loss: A Keras loss of `SMOOTH`.
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


class Continuation:
    """Minimises a nonsmooth F over balls by smoothed ones of shrinking width.

    Args:
        problem: As of `keras_taylor.optimum.solver.Solver`, whose width is changed.
        tolerance: As of `Solver`.
        budget: As of `Solver`.
        start: As of `Solver`.
        radii: As of `Solver`.

    Attributes:
        results: `{radius: Interval}`, valid at any time.
    """

    def __init__(self, problem, tolerance, budget, start, radii):
        self._problem, self._tolerance, self._budget = problem, tolerance, budget
        self._start = start
        self.results = {r: Interval(inside(start, problem.center, r)) for r in sorted(radii)}

    def minimize(self):
        """Solves for all radii, the smallest first; ends early if the budget is used up."""
        for place, radius in enumerate(self.results, start=1):
            later = len(self.results) - place
            self._budget.reserved += later
            with contextlib.suppress(OutOfPassesError):
                yield from self._minimize(radius)
            self._budget.reserved -= later

    def _minimize(self, radius):
        point, width = self.results[radius].point, None
        for _ in range(MOST_WIDTHS):
            value, _ = yield Evaluate(point)
            best = self.results[radius]
            if value < best.value:
                best = self.results[radius] = dataclasses.replace(best, point=point, value=value)
            if best.reached(self._tolerance) or not self._budget.has_left(2):
                return
            width = FIRST_WIDTH * abs(value) if width is None else SHRINKAGE * width
            self._problem.width = max(width, NARROWEST)
            # The last pass evaluates F itself.
            self._budget.reserved += 1
            smooth = Solver(self._problem, 0.5 * self._tolerance, self._budget, point, [radius])
            yield from smooth.minimize()
            self._budget.reserved -= 1
            found = smooth.results[radius]
            self.results[radius] = best.raised(found)
            point = found.point
