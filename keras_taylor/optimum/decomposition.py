"""Average loss = Taylor optimum + regret, over growing numbers of rounds."""

import csv
import dataclasses
import math
import pathlib

import keras
import numpy as np
from scipy import stats

from keras_taylor.optimum.solve import Solver
from keras_taylor.optimum.streamed import LinearRegret, Rounds
from keras_taylor.weights.arguments import check_passes, check_positive, check_radii

FIRST, MOST_COUNTS = 10, 8
LAST = "last"
LEAST_POINTS, RESAMPLES = 3, 2000

COLUMNS = (
    "part",
    "rounds",
    "radius",
    "average_loss",
    "optimum_lower",
    "optimum_upper",
    "average_regret_lower",
    "average_regret_upper",
    "average_linear_regret",
    "passes",
    "converged",
)


@dataclasses.dataclass(frozen=True)
class Rate:
    """How fast the regret of one part grows: cumulative regret ~ N^slope.

    Args:
        slope: Slope of log cumulative regret on log N by least squares; NaN with fewer than three
            positive regrets.
        lower: Lower end of its 95 % interval, by bootstrap.
        upper: Upper end.
        points: How many numbers of rounds were used.
        share_left_out: The share that was not, since regret was not positive.
    """

    slope: float
    lower: float
    upper: float
    points: int
    share_left_out: float


class Decomposition:
    """Loss, optimum and regret of parts over numbers of rounds; see `decompose`.

    Args:
        rows: A dictionary with the keys of `COLUMNS` for each part and number of rounds.
        regrets: By part and number N of rounds, the regret of each of the N rounds against the
            comparator that was found: arrays `(N,)`.
    """

    def __init__(self, rows, regrets):
        self.rows, self.regrets = rows, regrets

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
        comparators held fixed, or, with decompositions of other seeds, over the seeds, where the
        cumulative regret is the mean over these. Regrets that are not positive have no logarithm
        and are left out.

        Args:
            others: Decompositions of the same parts and rounds from other seeds.
            seed: Seed of the bootstrap.

        Returns:
            `{part: Rate}`.
        """
        parts = dict.fromkeys(row["part"] for row in self.rows)
        return {part: self._rate(part, others, np.random.default_rng(seed)) for part in parts}

    def _rate(self, part, others, generator):
        counts = [row["rounds"] for row in self.rows if row["part"] == part]
        series = [[table.regrets[part, n] for n in counts] for table in (self, *others)]
        sums = np.array([[regrets.sum() for regrets in one] for one in series])
        slope, points = _slope(counts, sums.mean(axis=0))
        if others:
            drawn = generator.integers(0, len(sums), (RESAMPLES, len(sums)))
            resampled = sums[drawn].mean(axis=1)
        else:
            resampled = _resampled_sums(series[0], generator)
        slopes = np.array([_slope(counts, row)[0] for row in resampled])
        slopes = slopes[np.isfinite(slopes)]
        ends = np.quantile(slopes, [0.025, 0.975]) if len(slopes) else (math.nan, math.nan)
        left_out = 1 - points / len(counts)
        return Rate(slope, *map(float, ends), points=points, share_left_out=left_out)


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
):
    """Splits the average loss of a run into Taylor optimum and regret, for growing N.

    For each part and each N: average loss of the first N recorded rounds = Taylor optimum over
    them + average regret, both as certified intervals, beside average linear regret, an upper bound
    of regret that takes no solve. Each solve starts from the one before.

    Ctrl-C ends after the solve in progress; the rows so far are returned.

    Args:
        trajectory: A `Trajectory`.
        model: A model like the one that was recorded, compiled.
        scope: `"network"`, `"layers"` for all layers, one part as in `taylor_optimum`, or a list of
            these.
        rounds: Numbers N of recorded rounds, at least 2; by default at most eight, evenly spread
            over their logarithms from 10 on.
        radius: R, or `None` for the largest distance that the part travelled in the N rounds, or
            `"last"` for that of the most rounds, which is the same for all N; or a list of these.
        tolerance: The gap to reach, relative to the value.
        max_passes: The most passes for each solve, which is for all radii.
        loss: A Keras loss; `None` for the compiled one.
        verbose: 0 for no progress.

    Returns:
        A `Decomposition`, or a list of them for a list of radii; rows have averages over rounds, in
        units of the loss.

    Raises:
        ValueError: as `taylor_optimum`, or if a number of rounds is not between 2 and the length
            of the trajectory.

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
    check_positive("tolerance", tolerance)
    several = isinstance(radius, (list, tuple, np.ndarray))
    radii = list(radius) if several else [radius]
    check_radii(radii, names=(LAST,))
    check_passes(max_passes)
    data = Rounds(trajectory, model, loss)
    counts = _checked_counts(rounds, len(data))
    names = _names(data, scope)
    linear = LinearRegret(data, counts)
    bar = keras.utils.Progbar(
        len(names) * len(counts),
        verbose=bool(verbose),
        unit_name="solve",
        stateful_metrics=["average_loss", "optimum_lower", "optimum_upper"],
    )
    tables = [Decomposition([], {}) for _ in radii]
    for name in names:
        solver, start = Solver(data, name), None
        last = data.travelled(solver.part, counts[-1])
        at = [last if each == LAST else each for each in radii]
        for count in counts:
            found = solver.solve(at, tolerance, max_passes, start, 0, count)
            start = found[0].comparator
            try:
                # Equal radii share a solve, and the pass for the regrets.
                different = {optimum.radius: optimum for optimum in found}
                entries = {r: _entry(o, count, solver, linear) for r, o in different.items()}
            except KeyboardInterrupt:
                return tables if several else tables[0]
            for table, optimum in zip(tables, found, strict=True):
                row, table.regrets[name, count] = entries[optimum.radius]
                table.rows.append(dict(row))
            shown = [(key, tables[0].rows[-1][key]) for key in bar.stateful_metrics]
            bar.update(len(tables[0].rows), values=shown)
            if solver.interrupted:
                return tables if several else tables[0]
    return tables if several else tables[0]


def _entry(optimum, count, solver, linear):
    """Returns a row, and the regret of each round; NaN where the solve had no pass to evaluate."""
    part = solver.part
    row = _row(optimum, count, linear.average(part, optimum.radius, count))
    if not math.isfinite(optimum.value):
        return row, np.full(count, math.nan)
    losses = solver.problem.losses(part.vector(optimum.comparator))
    return row, solver.rounds.losses(count) - losses


def _row(found, count, linear_regret):
    lower, upper = found.average_regret
    return {
        "part": found.part,
        "rounds": count,
        "radius": found.radius,
        "average_loss": found.average_loss,
        "optimum_lower": found.lower_bound,
        "optimum_upper": found.value,
        "average_regret_lower": lower,
        "average_regret_upper": upper,
        "average_linear_regret": linear_regret,
        "passes": found.passes,
        "converged": found.converged,
    }


def _names(data, scope):
    scopes = [scope] if isinstance(scope, str) else list(scope)
    layers = [f"layer:{layer}" for layer in data.scopes.layers]
    names = [name for each in scopes for name in (layers if each == "layers" else [each])]
    return list(dict.fromkeys(names))


def _checked_counts(counts, total):
    if counts is None:
        first = min(FIRST, total)
        counts = np.unique(np.rint(np.geomspace(first, total, MOST_COUNTS)).astype(int)).tolist()
    counts = sorted(int(count) for count in counts)
    if not counts or counts[0] < 2 or counts[-1] > total:
        raise ValueError(
            f"rounds={counts}: expected numbers of recorded rounds from 2 to {total}, the length "
            "of the trajectory"
        )
    return counts


def _slope(counts, sums):
    """Returns the slope of log sums on log counts, where positive, and how many these are."""
    is_positive = sums > 0
    points = int(is_positive.sum())
    if points < LEAST_POINTS:
        return math.nan, points
    x, y = np.log(np.asarray(counts)[is_positive]), np.log(sums[is_positive])
    return float(stats.linregress(x, y).slope), points


def _resampled_sums(series, generator):
    """Returns sums over rounds drawn in blocks, `(RESAMPLES, len(series))`.

    Blocks are drawn within the rounds that each number of rounds adds to the one before, the same
    for all longer sums, since these have the shorter ones in them.
    """
    ends = [len(regrets) for regrets in series]
    drawn = np.concatenate(
        [
            start + _drawn_blocks(end - start, generator)
            for start, end in zip([0, *ends], ends, strict=False)
        ],
        axis=1,
    )
    sums = [regrets[drawn[:, : len(regrets)]].sum(axis=1) for regrets in series]
    return np.stack(sums, axis=1)


def _drawn_blocks(count, generator):
    """Returns numbers below `count`, drawn in blocks, `(RESAMPLES, count)`."""
    block = max(1, round(count ** (1 / 3)))
    starts = generator.integers(0, count - block + 1, (RESAMPLES, -(-count // block)))
    return (starts[:, :, None] + np.arange(block)).reshape(RESAMPLES, -1)[:, :count]
