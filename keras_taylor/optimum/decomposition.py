"""Average loss = Taylor optimum + regret, over growing numbers of rounds."""

import contextlib
import csv
import itertools
import math
import pathlib

import keras
import numpy as np

from keras_taylor.optimum.driver import objectives, solve
from keras_taylor.optimum.growth import RecordedSeries, SampledSeries, rate_of
from keras_taylor.optimum.optimum import INTERRUPTED
from keras_taylor.optimum.recorded_regret import RecordedLinearRegret
from keras_taylor.optimum.sampled_rounds import rounds_of
from keras_taylor.optimum.taylor_optimum import checked_tolerance
from keras_taylor.printing import Printed, interval_text
from keras_taylor.weights.arguments import check_passes, is_whole, listed_radii
from keras_taylor.weights.parts import part_names

FIRST_HORIZON, MOST_HORIZONS = 10, 8
# The probability that the interval of an optimum covers it, where rounds are a sample.
LEVEL = 0.95
LAST = "last"

COLUMNS = (
    "part",
    "rounds",
    "radius",
    "average_loss",
    "optimum_lower",
    "optimum_upper",
    "optimum_lower_error",
    "optimum_upper_error",
    "average_regret_lower",
    "average_regret_upper",
    "average_linear_regret",
    "average_guarantee",
    "passes",
    "converged",
)


class Decomposition(Printed):
    """Loss, optimum and regret of parts over growing numbers of rounds, from `decompose`.

    Each row is a dictionary, for one part and one horizon N. Losses, optima and regrets are
    averages over the first N recorded rounds, or over the first N of a sampled run, in units of the
    loss:

    - `part`: `"network"`, `"layer:<key>"` or `"unit:<key>/<number>"`;
    - `rounds`: N;
    - `radius`: R of the ball of comparators about the first recorded weights;
    - `average_loss`: the average training loss;
    - `optimum_lower`, `optimum_upper`: the interval that the Taylor optimum is proved to lie in;
      where rounds are a sample of the run, one that covers it with a probability of 95 %;
    - `optimum_lower_error`, `optimum_upper_error`: the standard errors in that, 0 without a sample;
    - `average_regret_lower`, `average_regret_upper`: `average_loss` less the ends of that interval,
      upper end first;
    - `average_linear_regret`: an upper bound of average regret from gradients alone; NaN where
      rounds are a sample, of which a tracker's `linear_regret` has the sum over all;
    - `average_guarantee`: `R sqrt(sum of ||g^n||^2) / N`, what a step tuned to N guarantees; NaN
      where the examples of a round are a sample;
    - `passes`: the passes over the N rounds that the solve took;
    - `converged`: whether the interval is as narrow as the tolerance asks for.

    Args:
        rows: The rows, with the keys of `COLUMNS`.
        regrets: By part and horizon N, the regret of each of the N rounds against the comparator
            that was found: arrays `(N,)`; of a sample, that of each round of the check sample.
        sample: The `keras_taylor.optimum.sampled_rounds.SampledRounds` of a sample.

    Attributes:
        interrupted: Whether Ctrl-C ended the solves, so that rows are missing or the last one is
            not converged.
    """

    def __init__(self, rows, regrets, sample=None):
        self.rows, self.regrets, self._sample = rows, regrets, sample
        self.interrupted = False

    def __str__(self):
        lines = [
            (
                row["part"],
                str(row["rounds"]),
                f"{row['radius']:.4g}",
                f"{row['average_loss']:.4g}",
                interval_text(row["optimum_lower"], row["optimum_upper"]),
                interval_text(row["average_regret_lower"], row["average_regret_upper"]),
            )
            for row in self.rows
        ]
        lines.insert(0, ("part", "rounds", "R", "average loss", "optimum", "average regret"))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        pairs = (zip(line, widths, strict=True) for line in lines)
        return "\n".join("  ".join(text.ljust(w) for text, w in row).rstrip() for row in pairs)

    def to_csv(self, path):
        """Writes the rows to a file."""
        with pathlib.Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)

    def rate(self, others=(), seed=0):
        """Fits how fast regret grows with the number of rounds, for each part.

        The regret is that against the comparator found, a lower bound of the true one within the
        gap. Its 95 % interval comes from a bootstrap: over blocks of successive rounds with the
        comparators held fixed (of a sample, from the errors of the estimates), or, with
        decompositions of other seeds, over the seeds, where the cumulative regret is the mean over
        these. Regrets that are not positive have no logarithm and are left out.

        Args:
            others: Decompositions of the same parts and rounds from other seeds.
            seed: Seed of the bootstrap.

        Returns:
            `{part: Rate}`.
        """
        rates = {}
        for part in dict.fromkeys(row["part"] for row in self.rows):
            horizons = [row["rounds"] for row in self.rows if row["part"] == part]
            series = [table._series(part, horizons) for table in (self, *others)]
            rates[part] = rate_of(horizons, series, np.random.default_rng(seed))
        return rates

    def _series(self, part, horizons):
        regrets = [self.regrets[part, horizon] for horizon in horizons]
        if self._sample is None:
            return RecordedSeries(regrets)
        return SampledSeries(*self._sample.sums(regrets, horizons))


def decompose(
    trajectory,
    model,
    scope="layers",
    rounds=None,
    radius=None,
    tolerance=0.01,
    max_passes=None,
    loss=None,
    verbose="auto",
    absolute_tolerance=None,
):
    """Splits the average loss of a run into Taylor optimum and regret, for growing N.

    For each part and each horizon N: average loss of the first N recorded rounds = Taylor optimum
    over them + average regret, both as certified intervals, beside average linear regret, an upper
    bound of regret that takes no solve. Each solve starts from the one before.

    Ctrl-C ends after the solve in progress; the rows so far are returned, `interrupted` is set.

    Args:
        trajectory: A `Trajectory`.
        model: A model like the one that was recorded, compiled.
        scope: `"network"`, `"layers"`, `"units"`, one part (`"layer:<key>"`,
            `"unit:<key>/<number>"`), or a list of these.
        rounds: The horizons N, a list of numbers of recorded rounds, at least 2; by default at most
            eight, evenly spread over their logarithms from 10 on. Of a sample, numbers of rounds
            trained, each moved to the nearest end of a stratum, which the rows name.
        radius: R, or `None` for the largest distance that the part travelled in the N rounds, or
            `"last"` for that of the most rounds, which is the same for all N; or a list of these.
        tolerance: The gap to reach, relative to the value.
        absolute_tolerance: The gap to reach in units of the loss, in place of `tolerance`: where
            the value may be near zero, or regret is a small share of the loss.
        max_passes: The most passes for each solve, which is for all radii.
        loss: A Keras loss; `None` for the compiled one, which has to be the one trained with.
            Another one on purpose has optima, but no regret: losses and regrets are then NaN.
        verbose: 0 for no progress.

    Returns:
        A `Decomposition`, or a list of them for a list of radii.

    Raises:
        ValueError: if radius or tolerance is not positive, `max_passes` is not a positive integer,
            there are no rounds, the trajectory is damaged, of another model or of another loss than
            the compiled one, the loss is not known to be convex in the output, the scope is
            unknown or an empty list, or a horizon is not an integer between 2 and the length of the
            trajectory.

    Example:

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="net")
    >>> model.compile(keras.optimizers.SGD(0.1), loss="mse")
    >>> dataset = [(np.ones((4, 2)), np.zeros((4, 1)))] * 20
    >>> path = tempfile.mkdtemp() + "/run"
    >>> trajectory = keras_taylor.record(model, dataset, path, steps=20, verbose=0)
    >>> table = keras_taylor.decompose(trajectory, model, "network", rounds=[5, 20], verbose=0)
    >>> [row["rounds"] for row in table.rows], table.rows[0]["average_regret_lower"] > 0
    ([5, 20], True)
    """
    tolerance = checked_tolerance(tolerance, absolute_tolerance)
    radii, several = listed_radii(radius, names=(LAST,))
    check_passes(max_passes)
    data = rounds_of(trajectory, model, loss)
    horizons, names = _checked_horizons(rounds, data), _names(data, scope)
    tables = [Decomposition([], {}, data if data.is_sampled else None) for _ in radii]
    show = _progress(len(names) * len(horizons), verbose)
    with trajectory.damage_told():
        for found in _solved(data, names, horizons, radii, tolerance, max_passes):
            for table, (row, regrets, reason) in zip(tables, found, strict=True):
                table.rows.append(dict(row))
                table.regrets[row["part"], row["rounds"]] = regrets
                table.interrupted |= reason == INTERRUPTED
            show(tables[0].rows)
    for table in tables:
        table.interrupted |= len(table.rows) < len(names) * len(horizons)
    return tables if several else tables[0]


def _solved(data, names, horizons, radii, tolerance, max_passes):
    """Yields for each part and horizon, for each radius: a row, the rounds' regrets, the reason.

    Ends early if the user interrupts it.
    """
    try:
        linear = RecordedLinearRegret(data, horizons)
    except KeyboardInterrupt:
        return
    for objective in objectives(data, names):
        tables = []
        with contextlib.suppress(KeyboardInterrupt):
            for found in _over_horizons(objective, linear, horizons, radii, tolerance, max_passes):
                tables.append(found)
                if any(reason == INTERRUPTED for of_part in found for *_, reason in of_part):
                    break
        # All horizons of one part before those of the next.
        yield from itertools.chain.from_iterable(zip(*tables, strict=True))
        if len(tables) < len(horizons):
            return


def _over_horizons(objective, linear, horizons, radii, tolerance, max_passes):
    """Yields for each horizon, for each part of an objective, what `_solved` does."""
    rounds, starts = objective.rounds, None
    lasts = [rounds.travelled(part, horizons[-1]) for part in objective.parts]
    for horizon in horizons:
        objective.horizon = horizon
        at = [[last if radius == LAST else radius for radius in radii] for last in lasts]
        found = solve(objective, at, tolerance, max_passes, starts, needs_regrets=True)
        starts = [of_part[0][0].comparator for of_part in found]
        yield [
            [_entry(*one, part, horizon, rounds, linear) for one in of_part]
            for part, of_part in zip(objective.parts, found, strict=True)
        ]


def _entry(optimum, regrets, part, horizon, rounds, linear):
    """Returns a row, the regret of each round, and why the solve ended."""
    place = part, optimum.radius, horizon
    regret, guarantee = linear.average(*place), linear.average_guarantee(*place)
    if not rounds.is_recorded_loss:
        regret = guarantee = math.nan
    return _row(optimum, horizon, regret, guarantee), regrets, optimum.reason


def _row(found, horizon, average_linear_regret, average_guarantee):
    lower, upper = found.interval(LEVEL)
    return {
        "part": found.part,
        "rounds": horizon,
        "radius": found.radius,
        "average_loss": found.average_loss,
        "optimum_lower": lower,
        "optimum_upper": upper,
        "optimum_lower_error": found.lower_error,
        "optimum_upper_error": found.value_error,
        "average_regret_lower": found.average_loss - upper,
        "average_regret_upper": found.average_loss - lower,
        "average_linear_regret": average_linear_regret,
        "average_guarantee": average_guarantee,
        "passes": found.passes,
        "converged": found.converged,
    }


def _progress(solves, verbose):
    """Returns a function that shows the rows so far on a bar."""
    names = ["average_loss", "optimum_lower", "optimum_upper"]
    bar = keras.utils.Progbar(
        solves, verbose=bool(verbose), unit_name="solve", stateful_metrics=names
    )
    return lambda rows: bar.update(len(rows), values=[(name, rows[-1][name]) for name in names])


def _names(data, scope):
    scopes = list(scope) if isinstance(scope, (list, tuple)) else [scope]
    if not scopes:
        raise ValueError("scope is an empty list: expected at least one scope")
    names = [name for each in scopes for name in part_names(data.scopes, each)]
    return list(dict.fromkeys(names))


def _checked_horizons(horizons, data):
    total = len(data)
    if horizons is None:
        first = min(FIRST_HORIZON, total)
        horizons = np.rint(np.geomspace(first, total, MOST_HORIZONS)).astype(int).tolist()
    if np.ndim(horizons) != 1:
        raise ValueError(f"rounds must be a list of integers, received {horizons!r}")
    horizons = list(horizons)
    if not horizons or not all(is_whole(n) and 2 <= n <= total for n in horizons):
        of = "trained" if data.is_sampled else "recorded"
        raise ValueError(
            f"rounds={horizons}: expected numbers of {of} rounds from 2 to {total}, the last one"
        )
    if data.is_sampled:
        horizons = map(data.nearest, horizons)
    return sorted({int(n) for n in horizons})
