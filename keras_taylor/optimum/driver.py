"""Runs the solvers of one part, or of a thousand units side by side, and answers their requests.

Requests of one kind share a pass. This is the place that counts passes, draws the bar and catches
Ctrl-C.
"""

import dataclasses
import functools
import itertools
import math

import keras
import numpy as np

from keras_taylor.optimum.features import features_of
from keras_taylor.optimum.objective import Objective
from keras_taylor.optimum.optimum import (
    CONVERGED,
    INTERRUPTED,
    NOT_FINITE,
    OUT_OF_PASSES,
    STALLED,
    Optimum,
)
from keras_taylor.optimum.requests import Budget, OutOfPassesError
from keras_taylor.optimum.sampling_error import Estimate
from keras_taylor.optimum.smoothing import Continuation
from keras_taylor.optimum.solver import Solver
from keras_taylor.weights.parts import Part

# The allowance for rounding in units of the last place: a thousand times what was seen.
OPERATIONS = 2**12
# How far F and its gradient on features may be from those through the model, by precision.
AGREEMENT = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 0.1, "float16": 0.1}


def objectives(rounds, names):
    """Yields an `Objective` for each part, or for the units of a layer together.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        names: The names of the parts.
    """
    parts = [Part(rounds.scopes, name) for name in names]
    for (layer, is_unit), some in itertools.groupby(parts, lambda p: (p.layer, p.unit is not None)):
        group = list(some)
        checked = functools.partial(_checked, rounds, group)
        try:
            features = None if layer is None else rounds.remember(layer, is_unit, checked)
        except KeyboardInterrupt:
            objective = Objective(rounds, group[:1])
            objective.was_interrupted = True
            yield objective
            return
        if is_unit and features is not None:
            yield Objective(rounds, group, features)
        else:
            yield from (Objective(rounds, [part], features) for part in group)


def _checked(rounds, group):
    """Returns the features of the layer of some parts, if F on them is F through the model."""
    is_unit = group[0].unit is not None
    features = features_of(rounds, group[0].layer, is_unit)
    if features is None or not (features.is_kept or is_unit):
        return None
    found = [Objective(rounds, group[:1], one).at_first_weights() for one in (features, None)]
    agreement = AGREEMENT["float64" if features.is_exact else "float32"]
    agrees = all(
        np.linalg.norm(one - other) <= agreement * max(np.linalg.norm(other), 1e-6)
        for one, other in zip(*found, strict=True)
    )
    return features if agrees else None


@dataclasses.dataclass
class Solve:
    """One part's solve, as the driver runs it."""

    radii: list
    budget: Budget
    solver: Solver | Continuation

    def __post_init__(self):
        self._steps = self.solver.minimize()
        self.request = None
        self._advance(self._steps.send, None)

    def answer(self, answer):
        """Sends the answer to the request and goes on to the next one."""
        self._advance(self._steps.send, answer)

    def interrupt(self):
        """Leaves the request unanswered, and one pass to evaluate what was found."""
        self.budget.interrupt()
        if self.request is not None:
            self._advance(self._steps.throw, OutOfPassesError())

    def _advance(self, step, argument):
        self.request, request = None, None
        while request is None:
            try:
                request = step(argument)
                self.budget.take(request)
            except StopIteration:
                return
            except OutOfPassesError as error:
                request, step, argument = None, self._steps.throw, error
        self.request = request


def run(objective, solves, watch=lambda: None):
    """Runs solves side by side until all have ended.

    The first Ctrl-C ends them after one more pass, which evaluates what was found; the second is
    raised.

    Args:
        objective: The `Objective`.
        solves: The `Solve`s, one for each of its parts.
        watch: Called after each round of answers.
    """
    is_interrupted = False
    while asked := {n: s.request for n, s in enumerate(solves) if s.request is not None}:
        try:
            for place, answer in objective.answers(asked).items():
                solves[place].answer(answer)
            watch()
        except KeyboardInterrupt:
            if is_interrupted:
                raise
            is_interrupted = True
            for solve in solves:
                solve.interrupt()


def solve(
    objective,
    radii,
    tolerance,
    max_passes=None,
    starts=None,
    verbose=0,
    needs_regrets=False,
    watch=lambda ended: None,
):
    """Solves for the optima of the parts of an objective, up to its horizon.

    Args:
        objective: The `Objective`.
        radii: For each part its radii; `None` for the distance that it travelled.
        tolerance: The `keras_taylor.optimum.certificate.Tolerance` to reach.
        max_passes: The most passes of each part, for all radii; `None` for no limit.
        starts: For each part arrays like the weights to start from, or `None`.
        verbose: 0 for no progress bar.
        needs_regrets: Whether to return the regrets of the rounds.
        watch: Called with the number of parts that have ended, after each pass.

    Returns:
        For each part an `Optimum` for each radius, and the regrets of the rounds against its
        comparator, or `None`: `(N,)`, of a sample those of the rounds of the check sample.
    """
    rounds, kind = objective.rounds, Continuation if objective.rounds.loss.is_kinked else Solver
    solves = []
    for place, part in enumerate(objective.parts):
        travelled = rounds.travelled(part, objective.horizon)
        own = [travelled if radius is None else radius for radius in radii[place]]
        problem, budget = objective.problem(place), Budget(max_passes)
        if objective.was_interrupted:
            budget.interrupt()
        start = None if starts is None else starts[place]
        point = problem.center if start is None else part.vector(start)
        solver = kind(problem, tolerance, budget, point, set(own))
        solves.append(Solve(own, budget, solver))
    show = _progress(max_passes, verbose)

    def look():
        show(solves[0])
        watch(sum(each.request is None for each in solves))

    run(objective, solves, look)
    show(solves[0], has_ended=True)
    by_radii = {}
    columns = [tuple(each.radii[number] for each in solves) for number in range(len(radii[0]))]
    for number, column in enumerate(columns):
        if column not in by_radii:
            by_radii[column] = _optima(objective, solves, number, tolerance, needs_regrets)
    return list(zip(*(by_radii[column] for column in columns), strict=True))


def _optima(objective, solves, number, tolerance, needs_regrets):
    """Returns for each part its `Optimum` of the radius of that number, and regrets."""
    rounds, horizon = objective.rounds, objective.horizon
    intervals = [solve.solver.results[solve.radii[number]] for solve in solves]
    regrets = check_regrets = [None] * len(solves)
    if rounds.is_sampled or needs_regrets:
        places, points = range(len(solves)), [interval.point for interval in intervals]
        regrets = rounds.losses(horizon) - objective.losses(places, points)
    if rounds.is_sampled:
        check_regrets = rounds.losses(horizon, check=True) - objective.losses(places, points, True)
    found = []
    for place, (interval, solve) in enumerate(zip(intervals, solves, strict=True)):
        own = regrets[place], check_regrets[place]
        optimum = _optimum(objective, place, interval, solve, number, tolerance, *own)
        kept = own[1] if rounds.is_sampled else own[0]
        if kept is not None and not math.isfinite(interval.value):
            kept = np.full(len(kept), math.nan)
        found.append((optimum, kept))
    return found


def _optimum(objective, place, interval, solve, number, tolerance, regrets, check_regrets):
    rounds, horizon, part = objective.rounds, objective.horizon, objective.parts[place]
    average, radius = rounds.average_loss(horizon), solve.radii[number]
    # The error of a sum over rounds, of which each loss may have that of many operations.
    share = (OPERATIONS + horizon) * rounds.unit_roundoff
    rounded = interval.rounded(share, abs(average) if math.isfinite(average) else 0.0)
    value, lower = Estimate(rounded.value), Estimate(rounded.lower_bound)
    if rounds.is_sampled and math.isfinite(interval.value):
        design, losses = rounds.design(horizon), rounds.losses(horizon)
        found = design.bounds(average, lower.value, losses, regrets, check_regrets)
        value, lower = found[0].moved(rounded.value - interval.value), found[1]
    known, name = rounds.known_bound(part, radius, horizon)
    is_known = known > lower.value
    reason = _reason(interval, tolerance, solve.budget)
    return Optimum(
        part=part.name,
        value=float(value.value),
        lower_bound=float(known if is_known else lower.value),
        value_error=value.error,
        lower_error=0.0 if is_known else lower.error,
        degrees_of_freedom=(lower.degrees_of_freedom, value.degrees_of_freedom),
        known_lower_bound=float(known),
        bound=name if is_known else interval.bound,
        radius=float(radius),
        comparator=part.arrays(interval.point, rounds.first),
        passes=solve.budget.num_passes,
        converged=reason == CONVERGED,
        reason=reason,
        average_loss=average,
    )


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
    """Returns a function that shows a `Solve`: the certified interval, and the promised gap."""
    names = ("value", "gap", "promised_gap")
    bar = keras.utils.Progbar(
        max_passes, verbose=bool(verbose), unit_name="pass", stateful_metrics=names
    )

    def show(solve, has_ended=False):
        # The last radius with a value.
        known = [i for i in solve.solver.results.values() if math.isfinite(i.value)]
        found = (known[-1].value, known[-1].gap) if known else (math.nan, math.nan)
        values = zip(names, (*found, solve.budget.promised_gap), strict=True)
        shown = [pair for pair in values if math.isfinite(pair[1])]
        bar.update(solve.budget.num_passes, shown, finalize=has_ended)

    return show
