"""What a run of `experiments.taylor_regret` comes to: averages, bounds and slopes."""

import numpy as np

from experiments.analysis import growth
from experiments.runs import readings, rounds

COLUMNS = (
    "optimizer",
    "scope",
    "part",
    "unit",
    "round",
    "linear_regret",
    "average_linear_regret",
    "optimum_lower_bound",
    "average_loss",
    "guarantee",
    "relative_regret",
    "step_ratio",
)


# What tells, while a run goes on, whether its step fits.
LIVE = ("guarantee", "relative_regret", "step_ratio")


def summarize(run, tracked_rounds):
    """Returns the numbers of a run at its last reading, for the network and for each layer.

    Args:
        run: A dictionary from `experiments.runs.training.train`, or one read from its file.
        tracked_rounds: Rounds after the burn-in; fewer were read if the run diverged.
    """
    progress = run["progress"]
    return {
        "optimizer": run["optimizer"],
        "learning_rate": run["learning_rate"],
        "diverged": run["diverged"],
        "wall_seconds": run["wall_seconds"],
        "solve_seconds": run["solve_seconds"],
        "rounds": progress["round"][-1],
        "skipped_steps": progress["skipped_steps"][-1],
        "average_loss": progress["average_loss"][-1],
        "means": run["means"],
        # Runs from before they were kept have none.
        "final_means": run.get("final_means", {}),
        "diagnosis": run.get("diagnosis", []),
        "decomposition": whole_run(run),
        "average_taylor_loss": {
            name: values[-1] for name, values in run["average_taylor_loss"].items()
        },
        "average_taylor_regret": {
            name: _difference(progress["average_loss"][-1], values[-1])
            for name, values in run["average_taylor_loss"].items()
        },
        "network": _part(progress, run["network"], tracked_rounds),
        "layers": {
            layer: _part(progress, series, tracked_rounds)
            for layer, series in run["layers"].items()
        },
    }


def whole_run(run):
    """Returns the rows over all recorded rounds and the rates, by part, and a count of units.

    The rows of units are in the run alone.
    """
    split = run["decomposition"]
    # Rows are in rising order of their horizons, so the last row of a part is that of all rounds.
    rows = {row["part"]: row for row in split.get("parts", ())}
    converged = [row["converged"] for row in split.get("units", ())]
    # Rates at one radius come first, since the guarantee is about one radius. A part that did not
    # move has none.
    rates = split.get("rates", {}) | split.get("fixed_rates", {})
    units = {"solved": len(converged), "wide": converged.count(False)}
    return {"parts": rows, "rates": rates, "units": units}


def decomposition_rows(run):
    """Yields the rows of a run's decomposition, with the optimizer."""
    split = run["decomposition"]
    for row in (*split.get("parts", ()), *split.get("units", ())):
        yield {"optimizer": run["optimizer"]} | row


def _part(progress, series, tracked_rounds):
    chosen = set(rounds.log_spaced(tracked_rounds, readings.LOG_SPACED))
    pairs = [
        pair
        for pair in zip(progress["round"], series["linear_regret"], strict=True)
        if pair[0] in chosen
    ]
    return {
        "linear_regret": series["linear_regret"][-1],
        "average_linear_regret": average(series["linear_regret"], progress["steps"])[-1],
        "optimum_lower_bound": series["optimum_lower_bound"][-1],
        **{name: _at(series, name, -1) for name in LIVE},
        "growth": growth.log_log_slope(*(zip(*pairs, strict=True) if pairs else ((), ()))),
    }


def _at(series, name, index):
    """Returns a reading; runs that were kept before it was read have none."""
    return series[name][index] if name in series else None


def _difference(first, second):
    return None if first is None or second is None else first - second


def average(cumulative, steps):
    """Returns cumulative values divided by their numbers of steps; NaN before the first step."""
    cumulative = np.asarray(cumulative, float)
    divisor = np.asarray(steps, float).reshape((-1,) + (1,) * (cumulative.ndim - 1))
    return np.divide(cumulative, divisor, out=np.full(cumulative.shape, np.nan), where=divisor > 0)


def windowed_loss(run, tracked_rounds):
    """Returns rounds, and the average loss between each of them and the one before.

    Only the linearly spaced rounds are used, so that all windows are about equally long.
    """
    chosen = set(rounds.linearly_spaced(tracked_rounds, readings.LINEARLY_SPACED))
    progress = {name: np.asarray(values, float) for name, values in run["progress"].items()}
    kept = np.isin(progress["round"], list(chosen))
    steps, losses = progress["steps"][kept], progress["average_loss"][kept]
    taken = np.diff(steps, prepend=0)
    sums = np.diff(np.where(steps > 0, steps * losses, 0), prepend=0)
    means = np.divide(sums, taken, out=np.full(taken.shape, np.nan), where=taken > 0)
    return progress["round"][kept], means


def long_rows(run):
    """Yields the rows of a run in long format, with the keys of `COLUMNS`."""
    progress = run["progress"]
    yield from _rows(run, progress, "network", "network", run["network"])
    for layer, series in run["layers"].items():
        yield from _rows(run, progress, "layer", layer, series)
    for layer, series in run["units"].items():
        yield from _unit_rows(run, layer, series)


def _unit_rows(run, layer, series):
    losses = dict(zip(run["progress"]["round"], run["progress"]["average_loss"], strict=True))
    progress = run["unit_progress"]
    progress = progress | {"average_loss": [losses[number] for number in progress["round"]]}
    for unit in range(len(series["linear_regret"][0])):
        of_unit = {name: [values[unit] for values in rows] for name, rows in series.items()}
        yield from _rows(run, progress, "unit", layer, of_unit, unit)


def _rows(run, progress, scope, part, series, unit=None):
    averages = average(series["linear_regret"], progress["steps"])
    for index, number in enumerate(progress["round"]):
        row = (
            run["optimizer"],
            scope,
            part,
            unit,
            number,
            series["linear_regret"][index],
            averages[index],
            series["optimum_lower_bound"][index],
            progress["average_loss"][index],
            *(_at(series, name, index) for name in LIVE),
        )
        yield dict(zip(COLUMNS, row, strict=True))
