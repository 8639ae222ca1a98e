"""The Taylor optimum of a run, as a certified interval."""

import dataclasses
import math

import keras
import numpy as np

from keras_taylor.optimum.dense import dense_objective
from keras_taylor.optimum.kinked import kinked_objective
from keras_taylor.optimum.passes import Budget
from keras_taylor.optimum.rounds import Rounds
from keras_taylor.optimum.streamed import StreamedObjective
from keras_taylor.weights.arguments import check_passes, check_positive, check_radii
from keras_taylor.weights.parts import Part, by_scope, part_names

CONVERGED, OUT_OF_PASSES, INTERRUPTED = "converged", "out of passes", "interrupted"
STALLED, NOT_FINITE = "stalled by rounding", "not finite"
# The allowance for rounding in units of the last place: a thousand times what was seen.
OPERATIONS = 2**12


@dataclasses.dataclass(frozen=True)
class Optimum:
    """The Taylor optimum of one part of the weights over recorded rounds, from `taylor_optimum`.

    Values are averages over the rounds, in units of the loss.

    Args:
        part: `"network"`, `"layer:<key>"` or `"unit:<key>/<number>"`.
        value: `F` at the comparator plus an allowance for rounding: an upper bound of the optimum.
        lower_bound: A lower bound of the optimum.
        radius: R of the ball of comparators about `W^1`.
        comparator: The comparator, arrays like the weights; outside of the part those of `W^1`.
        passes: Passes over the rounds that the solve took, for all radii of a list together.
        converged: Whether the gap, without the allowance for rounding, is at most the tolerance
            times the value's size.
        reason: Why the solve ended: `"converged"`, `"out of passes"`, `"interrupted"`,
            `"stalled by rounding"`, or `"not finite"`, where the Taylor losses are.
        average_loss: The average loss of the rounds.
    """

    part: str
    value: float
    lower_bound: float
    radius: float
    comparator: list
    passes: int
    converged: bool
    reason: str
    average_loss: float

    @property
    def gap(self):
        """The distance of the bounds: the optimum lies between `value - gap` and `value`."""
        return self.value - self.lower_bound

    @property
    def average_regret(self):
        """The bounds of average Taylor regret, average loss - optimum."""
        return self.average_loss - self.value, self.average_loss - self.lower_bound


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
        radius: R, or `None` for the largest distance `||W^n - W^1||` that the part travelled, or a
            list of these. Where the loss is quadratic, one solve answers all radii.
        tolerance: The gap to reach, relative to the value.
        max_passes: The most passes over the rounds for each part; `None` for no limit.
        loss: A Keras loss; `None` for the compiled one. It has to be the one trained with.
        warm_start: An `Optimum` of the same part to start from.
        verbose: 0 for no progress bar.

    Returns:
        For one part an `Optimum`, or a list of them for a list of radii; `{layer: ...}` for
        `"layers"`, `{layer: [... of each unit]}` for `"units"`. A solve that ends early has a valid
        interval and `converged=False`; an interrupted call returns the parts solved so far.

    Raises:
        ValueError: if radius or tolerance is not positive, `max_passes` is not a positive integer,
            there are no rounds, the trajectory is damaged or of another model, the scope is
            unknown, or a part did not move and no radius was given.

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
    check_positive("tolerance", tolerance)
    several = isinstance(radius, (list, tuple, np.ndarray))
    radii = list(radius) if several else [radius]
    check_radii(radii)
    check_passes(max_passes)
    rounds = Rounds(trajectory, model, loss)
    names, solved = part_names(rounds.scopes, scope), []
    warm_start = warm_start and warm_start.comparator
    for name in names:
        solver = Solver(rounds, name)
        if None in radii and not rounds.travelled(solver.part):
            raise ValueError(
                f"part {name!r} did not move in the recorded rounds: give a radius, or record more"
            )
        found = solver.solve(radii, tolerance, max_passes, warm_start, verbose)
        solved.append(found if several else found[0])
        if solver.interrupted:
            break
    return by_scope(rounds.scopes, scope, solved)


class Solver:
    """Solves for the optimum of one part, over all rounds or the first of them.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        name: The part, as `scope` of `taylor_optimum`.

    Attributes:
        objective: The `keras_taylor.optimum.objective.Objective`.
        interrupted: Whether the user interrupted the latest solve.
    """

    def __init__(self, rounds, name):
        self.part, self.rounds, self.interrupted = Part(rounds.scopes, name), rounds, False
        self.objective = objective_of(rounds, self.part)

    def solve(self, radii, tolerance, max_passes=None, warm_start=None, verbose=0, horizon=None):
        """Returns an `Optimum` for each radius.

        Args:
            radii: Radii; `None` for the distance travelled.
            tolerance: The gap to reach, relative to the value.
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
        reason = _reason(interval, tolerance, budget)
        interval = interval.rounded(share, abs(self.rounds.average_loss(horizon)))
        return Optimum(
            part=self.part.name,
            value=float(interval.value),
            lower_bound=float(interval.lower_bound),
            radius=float(radius),
            comparator=self.part.arrays(interval.point, self.rounds.first),
            passes=budget.taken,
            converged=reason == CONVERGED,
            reason=reason,
            average_loss=self.rounds.average_loss(horizon),
        )


def objective_of(rounds, part):
    """Returns the fastest `Objective` that a part has over the rounds of a trajectory."""
    if rounds.loss.is_kinked:
        return kinked_objective(rounds, part)
    return dense_objective(rounds, part) or StreamedObjective(rounds, part)


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
