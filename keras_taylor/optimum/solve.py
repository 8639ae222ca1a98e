"""The Taylor optimum of a run, as a certified interval."""

import dataclasses
import functools
import itertools
import math

import keras
import numpy as np

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
from keras_taylor.optimum.sampled_rounds import rounds_of
from keras_taylor.optimum.shared_units import shared_units
from keras_taylor.optimum.streamed import StreamedObjective
from keras_taylor.optimum.tolerance import checked_tolerance
from keras_taylor.weights.arguments import check_passes, listed_radii
from keras_taylor.weights.parts import Part, by_scope, part_names

# The allowance for rounding in units of the last place: a thousand times what was seen.
OPERATIONS = 2**12


def taylor_optimum(
    trajectory,
    model,
    scope="network",
    radius=None,
    tolerance=0.01,
    max_passes=None,
    loss=None,
    warm_start=None,
    verbose="auto",
    absolute_tolerance=None,
):
    """Solves for the Taylor optimum of a run: the best comparator in hindsight.

    Minimises `F(V) = (1/N) sum_n L_s^n(V)`, the average over the N recorded rounds of the Taylor
    losses of part s, over the ball of radius R about the first recorded weights, and proves how far
    from the minimum it is: with the gradient g of F at V, the optimum lies in

        [F(V) - <g, V - W^1> - R ||g||, F(V)] = [lower_bound, value]

    and average Taylor regret in `average_loss` minus these. Both ends are evaluated in float64,
    whatever the model's dtype (where the model has such a copy; else a warning says so), and moved
    outwards by an allowance for rounding. Each evaluation of F or of a curvature product takes one
    pass over the rounds. Dense layers and their units are solved on the layer's inputs and the
    outputs' Jacobian, which one pass collects.

    Ctrl-C ends the solve after one more pass and returns what was found; pass it as `warm_start` to
    go on.

    Args:
        trajectory: A `keras_taylor.Trajectory`.
        model: A model like the one that was recorded, compiled; its weights do not matter.
        scope: `"network"`, `"layers"`, `"units"`, or one part: `"layer:<key>"`,
            `"unit:<key>/<number>"`. A layer's key is its variables' path without the last part.
        radius: R, or `None` for the largest distance `||W^n - W^1||` that the part travelled (0 for
            a dead unit, whose only comparator is then `W^1`), or a list of these. Where the loss is
            quadratic, one solve answers all radii.
        tolerance: The gap to reach, relative to the value.
        absolute_tolerance: The gap to reach in units of the loss, in place of `tolerance`: where
            the value may be near zero, or regret is a small share of the loss.
        max_passes: The most passes over the rounds for each part; `None` for no limit.
        loss: A Keras loss; `None` for the compiled one, which has to be the one trained with.
            Another one on purpose has an optimum, but no regret: `average_loss` is then NaN.
        warm_start: An `Optimum` of the same part to start from.
        verbose: 0 for no progress bar.

    Returns:
        For one part an `Optimum`, or a list of them for a list of radii; `{layer: ...}` for
        `"layers"`, `{layer: [... of each unit]}` for `"units"`. A solve that ends early has a valid
        interval and `converged=False`; an interrupted call returns the parts solved so far.

    Raises:
        ValueError: if radius or tolerance is not positive, `max_passes` is not a positive integer,
            there are no rounds, the trajectory is damaged, of another model or of another loss than
            the compiled one, the scope is unknown, `warm_start` is no `Optimum`, or the one part
            asked for did not move and no radius was given.

    Example:

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="a")], name="net")
    >>> model.compile(keras.optimizers.SGD(0.1), loss="mse")
    >>> dataset = [(np.ones((4, 2)), np.array([[0.0], [1.0], [0.0], [1.0]]))] * 20
    >>> path = tempfile.mkdtemp() + "/run"
    >>> trajectory = keras_taylor.record(model, dataset, path, steps=20, verbose=0)
    >>> result = keras_taylor.taylor_optimum(trajectory, model, "layer:net/a", verbose=0)
    >>> result.converged, result.lower_bound <= result.value <= result.average_loss
    (True, True)

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; the
    formulas are a reconstruction. The solver names its sources in `keras_taylor.optimum.ball` and
    `keras_taylor.optimum.subspace`.
    """
    tolerance = checked_tolerance(tolerance, absolute_tolerance)
    radii, several = listed_radii(radius)
    check_passes(max_passes)
    rounds = rounds_of(trajectory, model, loss)
    names, solved = part_names(rounds.scopes, scope), []
    warm_start = _comparator(warm_start, rounds.scopes)
    if None in radii and len(names) == 1 and not rounds.travelled(Part(rounds.scopes, names[0])):
        raise ValueError(
            f"part {names[0]!r} did not move in the recorded rounds: give a radius, or record more"
        )

    def solve(solver):
        found = solver.solve(radii, tolerance, max_passes, warm_start, verbose)
        return (found if several else found[0]), solver.interrupted

    for shared, group in groups(rounds, names):
        found = solve_group(rounds, shared, group, solve)
        solved += [optimum for optimum, _ in found]
        if any(interrupted for _, interrupted in found):
            break
    return by_scope(rounds.scopes, scope, solved)


def groups(rounds, names):
    """Yields `SharedUnits` with the names of units that it solves for together.

    Parts that are solved for by themselves come with `None`, one by one.
    """
    parts = [Part(rounds.scopes, name) for name in names]
    for key, group in itertools.groupby(parts, lambda part: part.unit is not None and part.layer):
        group = list(group)
        shared = _shared(rounds, key) if key and len(group) > 1 else None
        names_of_group = [part.name for part in group]
        yield from [(shared, names_of_group)] if shared else [(None, [n]) for n in names_of_group]


def _shared(rounds, key):
    """Returns the `SharedUnits` of a layer, or `None` where there is none or a faster way."""
    unit = Part(rounds.scopes, f"unit:{key}/0")
    if rounds.loss.is_kinked or gram_objective(rounds, unit) or dense_objective(rounds, unit):
        return None
    return shared_units(rounds, key)


def solve_group(rounds, shared, names, solve):
    """Returns the results of a function of each part's `Solver`, for a group from `groups`."""
    if shared is None:
        return [solve(Solver(rounds, name)) for name in names]
    solvers = [Solver(rounds, name, shared.objective(name)) for name in names]
    return shared.run([functools.partial(solve, solver) for solver in solvers])


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
        budget = Budget(max_passes, _progress(max_passes, verbose))
        center = self.part.vector(self.rounds.first)
        point = center if warm_start is None else self.part.vector(warm_start)
        objective = self.objective.over_first(horizon or len(self.rounds))
        with self.rounds.trajectory.damage_told():
            intervals = objective.minimize(budget, center, different, tolerance, point)
        self.interrupted = budget.interrupted
        if verbose:
            print()
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
        objective = self.objective.over_first(horizon)
        return self.rounds.losses(horizon, check) - objective.losses(point, check)

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


def _comparator(warm_start, scopes):
    """Returns the comparator to start from, or `None`."""
    if warm_start is None:
        return None
    if not isinstance(warm_start, Optimum):
        raise ValueError(
            "warm_start must be an Optimum, as this function returns it, received "
            f"{type(warm_start).__name__}"
        )
    scopes.check_shapes(warm_start.comparator, "the comparator of warm_start")
    return warm_start.comparator


def objective_of(rounds, part):
    """Returns the fastest `Objective` that a part has over the rounds of a trajectory."""
    if rounds.loss.is_kinked:
        return kinked_objective(rounds, part)
    fast = gram_objective(rounds, part) or dense_objective(rounds, part)
    return fast or StreamedObjective(rounds, part)


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

    def show(budget):
        best = budget.best
        found = (math.nan, math.nan) if best is None else (best.value, best.gap)
        values = zip(names, (*found, budget.promised_gap), strict=True)
        bar.update(budget.taken, [pair for pair in values if math.isfinite(pair[1])])

    return show
