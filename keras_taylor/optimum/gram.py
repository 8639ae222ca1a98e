"""F of single units of dense layers under squared error, from Gram matrices: pure NumPy.

The Taylor loss of an example in one unit's weights v is quadratic in `m = v h - z`, its input h
times the move of the weights: `loss + b m + c m^2 / 2`. With m_1 that of the first weights v_1,

    F(v) = mean(loss + b m_1 + c m_1^2 / 2) + <v - v_1, mean((b + c m_1) h)>
           + (v - v_1)' mean(c h h') (v - v_1) / 2.

So a vector and a matrix of one unit's size say where the minimum is, for any radius, and those of
more rounds are sums of those of fewer: there is no further pass over the rounds. The certificate is
evaluated from h, m, b and c, since the sums cancel where inputs have a large mean.
"""

import copy
import functools

import numpy as np

from keras_taylor.optimum import ball, subspace
from keras_taylor.optimum.dense import features_of
from keras_taylor.optimum.objective import SmoothObjective
from keras_taylor.optimum.passes import OutOfPassesError, Passes

# The unit's size up to which the eigenvectors of its matrix are found rather than a subspace.
DIRECT_SIZE = 256


def gram_objective(rounds, part):
    """Returns the `GramObjective` of a part, or `None` where there is none.

    There is none unless it is a unit of a layer that has `Features`, and the loss is quadratic.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        part: The `keras_taylor.weights.parts.Part`.
    """
    if part.unit is None or not rounds.loss.is_quadratic:
        return None
    samples = rounds.remember(part.layer, "units", lambda: _unit_expansions(rounds, part.layer))
    return None if samples is None else GramObjective(rounds, part, *samples)


def _unit_expansions(rounds, layer):
    """Returns the `UnitExpansions` of the fit and the check sample, or `None`."""
    features = features_of(rounds, layer)
    if features is None:
        return None
    fit = UnitExpansions.of(features)
    if fit is None or features.check in (None, features):
        return fit and (fit, fit)
    return fit, UnitExpansions.of(features.check)


class UnitExpansions:
    """The Taylor losses of all units of a layer, in the rounds of a sample.

    Args:
        inputs: h of each example, `(examples, rows)`, in the order of the rounds.
        before: z, `(examples, units)`.
        linear: b, `(examples, units)`.
        curvature: c, `(examples, units)`.
        losses: The loss of each round at its own weights, `(rounds,)`.
        weights: How many rounds each round stands for, `(rounds,)`.
    """

    def __init__(self, inputs, before, linear, curvature, losses, weights):
        self._inputs, self._before, self._linear, self._curvature = (
            inputs,
            before,
            linear,
            curvature,
        )
        self._losses, self._weights = losses, weights
        self._batch_size = len(inputs) // len(losses)

    @classmethod
    def of(cls, features):
        """Returns those of a layer's `Features`; `None` where outputs are not apart in the loss."""
        found = [features.graphs.unit_expansions(chunk) for chunk in features.chunks]
        if None in found:
            return None
        merged = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
        return cls(**merged)

    def sums(self, unit, first, begin, end):
        """Returns the vector and matrix of a unit, summed over rounds from begin to end."""
        rows, of = self._examples(begin, end), slice(begin, end)
        inputs, m, b, c = self._moved(unit, first, rows)
        weights = np.repeat(self._weights[of], self._batch_size)
        weighted = inputs.T * (weights * c)
        return inputs.T @ (weights * (b + c * m)), weighted @ inputs

    def value_and_gradient(self, unit, point, rounds):
        """Returns the summed Taylor loss of the first rounds at a point, and its gradient."""
        inputs, m, b, c = self._moved(unit, point, self._examples(0, rounds))
        weights = np.repeat(self._weights[:rounds], self._batch_size)
        value = self._weights[:rounds] @ self._losses[:rounds] + weights @ ((b + c * m / 2) * m)
        return float(value), inputs.T @ (weights * (b + c * m))

    def losses(self, unit, point, rounds):
        """Returns the Taylor loss of each of the first rounds at a point, `(rounds,)`."""
        _, m, b, c = self._moved(unit, point, self._examples(0, rounds))
        changes = ((b + c * m / 2) * m).reshape(rounds, self._batch_size)
        return self._losses[:rounds] + changes.sum(axis=1)

    def _examples(self, begin, end):
        return slice(begin * self._batch_size, end * self._batch_size)

    def _moved(self, unit, point, rows):
        inputs = self._inputs[rows]
        m = inputs @ point - self._before[rows, unit]
        return inputs, m, self._linear[rows, unit], self._curvature[rows, unit]


class GramObjective(SmoothObjective):
    """F of one unit of a dense layer, where the loss is quadratic; made by `unit_objectives`.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        part: The unit's `keras_taylor.weights.parts.Part`.
        fit: The layer's `UnitExpansions` in the rounds that are solved over.
        check: Those in the rounds of the check sample.
    """

    is_quadratic = True

    def __init__(self, rounds, part, fit, check):
        self.part, self.horizon = part, len(rounds)
        self._rounds, self._fit, self._check = rounds, fit, check
        self._first = part.vector(rounds.first)
        # What was summed so far, by the number of rounds, shared by all horizons.
        self._summed = {}

    def over_first(self, horizon):
        other = copy.copy(self)
        other.horizon = horizon
        other.__dict__.pop("_sums", None)
        return other

    def minimize(self, budget, center, radii, tolerance, warm_start):
        passes = Passes(self, budget)
        if self.part.size > DIRECT_SIZE:
            return ball.minimize(passes, center, radii, tolerance, True, warm_start)
        return [self._minimum(passes, center, radius, tolerance) for radius in radii]

    def _minimum(self, passes, center, radius, tolerance):
        """Returns the interval over one ball, by the eigenvectors of the matrix."""
        vector, matrix = self._sums
        move, _ = subspace.trust_region(matrix, vector, radius)
        point = ball.inside(center + move, center, radius)
        try:
            value, gradient = passes.value_and_gradient(point)
        except OutOfPassesError:
            return ball.Interval(point, np.inf, -np.inf)
        found = ball.certified(point, value, gradient, center, radius)
        if found.reached(tolerance) or not np.isfinite(value):
            return found
        return ball.minimize(passes, center, [radius], tolerance, True, point)[0]

    def value_and_gradient(self, point):
        # From the examples: the terms of the sums cancel where inputs have a large mean.
        kept = self._rounds.kept(self.horizon)
        value, gradient = self._fit.value_and_gradient(self.part.unit, point, kept)
        return value / self.horizon, gradient / self.horizon

    def curvature_product(self, point, vector):
        return self._sums[1] @ vector

    def losses(self, point, check=False):
        if check:
            return self._check.losses(self.part.unit, point, self._rounds.checked(self.horizon))
        return self._fit.losses(self.part.unit, point, self._rounds.kept(self.horizon))

    @functools.cached_property
    def _sums(self):
        """The vector and matrix of F."""
        end = self._rounds.kept(self.horizon)
        begin = max((kept for kept in self._summed if kept <= end), default=0)
        sums = self._summed.get(begin, (0.0, 0.0))
        if begin < end:
            more = self._fit.sums(self.part.unit, self._first, begin, end)
            sums = tuple(one + other for one, other in zip(sums, more, strict=True))
            # The longest is what a rising horizon goes on from.
            self._summed.clear()
            self._summed[end] = sums
        return tuple(one / self.horizon for one in sums)
