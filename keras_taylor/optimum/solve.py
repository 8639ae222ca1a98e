"""The Taylor optimum of a run, as a certified interval."""

import dataclasses
import math

import keras
import numpy as np

from keras_taylor.optimum import ball, dense, kinked
from keras_taylor.optimum.passes import Passes
from keras_taylor.optimum.streamed import Problem, Rounds
from keras_taylor.weights.arguments import check_passes, check_positive, check_radii
from keras_taylor.weights.parts import Part


@dataclasses.dataclass(frozen=True)
class Optimum:
    """The Taylor optimum of one part over the recorded rounds; see `taylor_optimum`.

    Args:
        part: `"network"`, `"layer:<key>"` or `"unit:<key>/<number>"`.
        value: `F` at the comparator: an upper bound of the optimum.
        lower_bound: A lower bound of the optimum.
        radius: R of the ball of comparators about `W^1`.
        comparator: The comparator, arrays like the weights; outside of the part those of `W^1`.
        passes: Passes over the rounds that it took (for a list of radii, all together).
        converged: Whether the gap is at most the tolerance times the value's size.
        average_loss: The average loss of the rounds.
    """

    part: str
    value: float
    lower_bound: float
    radius: float
    comparator: list
    passes: int
    converged: bool
    average_loss: float

    @property
    def gap(self):
        """How far the bounds are apart: the optimum lies between `value - gap` and `value`."""
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

    Minimises `F(V) = (1/N) sum_n L_s^n(V)` over the ball of radius R about the first recorded
    weights, and proves how far from the minimum it is: the optimum lies in
    `[lower_bound, value]`, and average Taylor regret in `average_loss` minus these. Each evaluation
    of F or of a curvature product takes one pass over the rounds. Dense layers and their units are
    solved on the layer's inputs and the outputs' derivatives, which one pass collects.

    Ctrl-C ends the solve after one more pass and returns what was found; pass it as `warm_start` to
    go on.

    Args:
        trajectory: A `Trajectory`.
        model: A model like the one that was recorded, compiled; its weights do not matter.
        scope: `"network"`, `"layers"` for all layers, or one part: `"layer:dense_1"`,
            `"unit:dense_1/3"`.
        radius: R, or `None` for the largest distance `||W^n - W^1||` that the part travelled, or a
            list of these. Where the loss is quadratic, one solve answers all radii.
        tolerance: The gap to reach, relative to the value.
        max_passes: The most passes over the rounds for each part; `None` for no limit.
        loss: A Keras loss; `None` for the compiled one. It has to be the one trained with.
        warm_start: An `Optimum` of the same part to start from.
        verbose: 0 for no progress.

    Returns:
        An `Optimum`, or a list of them for a list of radii; `{layer: ...}` for `"layers"`. A solve
        that ends early has a valid interval and `converged=False`.

    Raises:
        ValueError: if radius or tolerance is not positive, there are no rounds, the trajectory is
            of another model or damaged, or the scope is unknown.
    """
    check_positive("tolerance", tolerance)
    several = isinstance(radius, (list, tuple, np.ndarray))
    radii = list(radius) if several else [radius]
    check_radii(radii)
    check_passes(max_passes)
    rounds = Rounds(trajectory, model, loss)
    names = [f"layer:{layer}" for layer in rounds.scopes.layers] if scope == "layers" else [scope]
    solved = {}
    for name in names:
        solver = Solver(rounds, name)
        if None in radii and not rounds.travelled(solver.part):
            raise ValueError(
                f"part {name!r} did not move in the recorded rounds: give a radius, or record more"
            )
        found = solver.solve(
            radii, tolerance, max_passes, warm_start and warm_start.comparator, verbose
        )
        solved[name.partition(":")[2]] = found if several else found[0]
        if solver.interrupted:
            break
    return solved if scope == "layers" else next(iter(solved.values()))


class Solver:
    """Solves for the optimum of one part, over all rounds or the first of them.

    Args:
        rounds: The `keras_taylor.optimum.streamed.Rounds`.
        name: The part, as `scope` of `taylor_optimum`.
    """

    def __init__(self, rounds, name):
        self.part, self.rounds, self.interrupted = Part(rounds.scopes, name), rounds, False
        self.problem = None if rounds.is_kinked else dense.problem(rounds, self.part)
        self.is_fast = self.problem is not None
        if rounds.is_kinked:
            self.problem = kinked.Kinked(
                lambda function: Problem(
                    rounds, self.part, rounds.output_loss.with_losses(function)
                )
            )
        elif not self.is_fast:
            self.problem = Problem(rounds, self.part)

    def solve(self, radii, tolerance, max_passes=None, start=None, verbose=0, count=None):
        """Returns an `Optimum` a radius.

        Args:
            radii: Radii; `None` for the distance travelled.
            tolerance: As of `taylor_optimum`, as are the next.
            max_passes: See there.
            start: Arrays like the weights to start from.
            verbose: See there.
            count: How many of the rounds, from the first on; all by default.
        """
        self.problem.count = count or len(self.rounds)
        travelled = self.rounds.travelled(self.part, count)
        radii = [travelled if radius is None else radius for radius in radii]
        bar = keras.utils.Progbar(
            max_passes,
            verbose=bool(verbose),
            unit_name="pass",
            stateful_metrics=["value", "gap"],
        )
        passes = Passes(self.problem, max_passes, lambda *seen: _show(bar, *seen))
        with self.rounds.trajectory.damage_told():
            # Each radius once.
            different = list(dict.fromkeys(radii))
            intervals = self._minimize(passes, different, tolerance, start)
            found = [intervals[different.index(radius)] for radius in radii]
        self.interrupted = passes.interrupted
        if verbose:
            print()
        return [
            self._optimum(interval, radius, passes.count, tolerance, count)
            for interval, radius in zip(found, radii, strict=True)
        ]

    def _minimize(self, passes, radii, tolerance, start):
        center = self.part.vector(self.rounds.first)
        start = center if start is None else self.part.vector(start)
        if not self.rounds.is_kinked:
            return ball.minimize(passes, center, radii, tolerance, self.rounds.is_quadratic, start)
        return [
            kinked.minimize(passes, self.problem, center, radius, tolerance, start)
            for radius in radii
        ]

    def _optimum(self, interval, radius, passes, tolerance, count):
        return Optimum(
            part=self.part.name,
            value=float(interval.value),
            lower_bound=float(interval.lower_bound),
            radius=float(radius),
            comparator=self.part.arrays(interval.point, self.rounds.first),
            passes=passes,
            converged=bool(interval.reached(tolerance)),
            average_loss=self.rounds.average_loss(count),
        )


def _show(bar, count, best):
    values = [] if best is None else [("value", best.value), ("gap", best.gap)]
    bar.update(count, values=[(name, value) for name, value in values if math.isfinite(value)])
