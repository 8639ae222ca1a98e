"""The solver of one part: its objective, minimised, as an `Optimum`."""

import dataclasses
import math

import keras
import numpy as np

from keras_taylor.optimum.affine import AffineObjective
from keras_taylor.optimum.dense import dense_objective
from keras_taylor.optimum.estimates import Estimate
from keras_taylor.optimum.gram import gram_objective
from keras_taylor.optimum.kinked import kinked_objective
from keras_taylor.optimum.optimum import (
    CONVERGED,
    INTERRUPTED,
    NOT_FINITE,
    OUT_OF_PASSES,
    STALLED,
    Optimum,
)
from keras_taylor.optimum.passes import Budget
from keras_taylor.optimum.streamed import StreamedObjective
from keras_taylor.weights.parts import Part

# The allowance for rounding in units of the last place: a thousand times what was seen.
OPERATIONS = 2**12


class Solver:
    """Solves for the optimum of one part, over all rounds or the first of them.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        name: The part, as `scope` of `taylor_optimum`.
        objective: The part's `keras_taylor.optimum.objective.Objective`, if it is known.

    Attributes:
        objective: The `keras_taylor.optimum.objective.Objective`.
        interrupted: Whether the user interrupted the latest solve.
    """

    def __init__(self, rounds, name, objective=None):
        self.part, self.rounds, self.interrupted = Part(rounds.scopes, name), rounds, False
        self.objective = objective or objective_of(rounds, self.part)
        # Regrets of rounds of a sample, of the latest solve: its estimates and a decomposition ask.
        self._known_regrets = {}

    def solve(self, radii, tolerance, max_passes=None, warm_start=None, verbose=0, horizon=None):
        """Returns an `Optimum` for each radius.

        Args:
            radii: Radii; `None` for the distance travelled.
            tolerance: The gap to reach, relative to the value or
                `keras_taylor.optimum.tolerance.Absolute`.
            max_passes: The most passes over the rounds, for all radii; `None` for no limit.
            warm_start: Arrays like the weights to start from.
            verbose: 0 for no progress bar.
            horizon: The number of rounds, from the first on; by default all.
        """
        travelled = self.rounds.travelled(self.part, horizon)
        radii = [travelled if radius is None else radius for radius in radii]
        # Each radius once.
        different = list(dict.fromkeys(radii))
        show = _progress(max_passes, verbose)
        budget = Budget(max_passes, show)
        center = self.part.vector(self.rounds.first)
        point = center if warm_start is None else self.part.vector(warm_start)
        objective = self.objective.over_first(horizon or len(self.rounds))
        intervals = objective.minimize(budget, center, different, tolerance, point)
        self.interrupted, budget.best = budget.interrupted, intervals[-1]
        self._known_regrets.clear()
        show(budget, has_ended=True)
        return [
            self._optimum(intervals[different.index(radius)], radius, budget, tolerance, horizon)
            for radius in radii
        ]

    def _optimum(self, interval, radius, budget, tolerance, horizon):
        rounds = horizon or len(self.rounds)
        # The error of a sum over rounds, of which each loss may have that of many operations.
        share = (OPERATIONS + rounds) * self.rounds.unit_roundoff
        reason, average = _reason(interval, tolerance, budget), self.rounds.average_loss(horizon)
        rounded = interval.rounded(share, abs(average) if math.isfinite(average) else 0.0)
        value, lower = Estimate(rounded.value), Estimate(rounded.lower_bound)
        if self.rounds.is_sampled and math.isfinite(interval.value):
            room = rounded.value - interval.value
            value, lower = self._estimates(rounded, horizon)
            value = dataclasses.replace(value, value=value.value + room)
        return Optimum(
            part=self.part.name,
            value=float(value.value),
            lower_bound=float(lower.value),
            value_error=value.error,
            lower_error=lower.error,
            freedoms=(lower.freedom, value.freedom),
            radius=float(radius),
            comparator=self.part.arrays(interval.point, self.rounds.first),
            passes=budget.taken,
            converged=reason == CONVERGED,
            reason=reason,
            average_loss=average,
        )

    def _estimates(self, interval, horizon):
        """Returns value and lower bound over all rounds trained, from the two samples."""
        rounds, horizon = self.rounds, horizon or len(self.rounds)
        fit, check = (self._sampled_regrets(interval.point, horizon, one) for one in (False, True))
        losses, average = rounds.losses(horizon), rounds.average_loss(horizon)
        design = rounds.design(horizon)
        return design.bounds(average, interval.lower_bound, losses, fit, check)

    def _sampled_regrets(self, point, horizon, check):
        key = horizon, check, point.tobytes()
        if key not in self._known_regrets:
            losses = self.objective.over_first(horizon).losses(point, check)
            self._known_regrets[key] = self.rounds.losses(horizon, check) - losses
        return self._known_regrets[key]

    def regrets(self, optimum, horizon):
        """Returns the regret of rounds up to a horizon against the comparator of an `Optimum`.

        Returns:
            `(horizon,)`; where rounds are a sample `(rounds,)`, those of the check sample. NaN
            where the solve had no pass to evaluate.
        """
        count = self.rounds.checked(horizon) if self.rounds.is_sampled else horizon
        if not math.isfinite(optimum.value):
            return np.full(count, math.nan)
        point = self.part.vector(optimum.comparator)
        if self.rounds.is_sampled:
            return self._sampled_regrets(point, horizon, check=True)
        return self.rounds.losses(horizon) - self.objective.over_first(horizon).losses(point)


def objective_of(rounds, part):
    """Returns the fastest `Objective` that a part has over the rounds of a trajectory."""
    if rounds.loss.is_kinked:
        return kinked_objective(rounds, part)
    fast = gram_objective(rounds, part) or dense_objective(rounds, part)
    is_layer = part.layer is not None and part.unit is None
    return fast or (AffineObjective if is_layer else StreamedObjective)(rounds, part)


def _reason(interval, tolerance, budget):
    """Returns why a solve ended."""
    if interval.gap >= 0 and interval.reached(tolerance):
        return CONVERGED
    if budget.interrupted:
        return INTERRUPTED
    if not math.isfinite(interval.value):
        return NOT_FINITE if budget.has_left(1) else OUT_OF_PASSES
    return STALLED if budget.has_left(1) else OUT_OF_PASSES


def _progress(max_passes, verbose):
    """Returns a function that shows a `Budget`: the certified interval, and the promised gap."""
    names = ("value", "gap", "promised_gap")
    bar = keras.utils.Progbar(
        max_passes, verbose=bool(verbose), unit_name="pass", stateful_metrics=names
    )

    def show(budget, has_ended=False):
        best = budget.best
        found = (math.nan, math.nan) if best is None else (best.value, best.gap)
        values = zip(names, (*found, budget.promised_gap), strict=True)
        known = [pair for pair in values if math.isfinite(pair[1])]
        bar.update(budget.taken, known, finalize=has_ended)

    return show
