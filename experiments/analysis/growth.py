"""How fast a cumulative quantity grows: the slope of its logarithm on log N."""

import math

import numpy as np
from scipy import stats

# The first rounds say nothing about growth.
FIRST_ROUND = 10
LEAST_POINTS = 3


def log_log_slope(rounds, values, first_round=FIRST_ROUND):
    """Fits `log value = intercept + slope * log round` by least squares.

    Rounds before `first_round` are not used. Values that are not positive have no logarithm:
    they are left out, and their share is reported. Neighbouring values of a cumulative sum
    depend on each other, so the standard error says how straight the line is, and is too small
    as a measure of certainty.

    Args:
        rounds: Horizons N, log-spaced so that each decade has the same weight.
        values: The cumulative value at each horizon.
        first_round: The first round to use.

    Returns:
        A dictionary with `slope`, `intercept`, `standard_error`, `r_squared` (each `None` with
        fewer than three points), `points` and `share_left_out`.
    """
    rounds, values = np.asarray(rounds, float), np.asarray(values, float)
    late = rounds >= first_round
    usable = late & (np.nan_to_num(values, nan=-1.0, posinf=-1.0) > 0)
    fit = {
        "slope": None,
        "intercept": None,
        "standard_error": None,
        "r_squared": None,
        "points": int(usable.sum()),
        "share_left_out": 1 - usable.sum() / late.sum() if late.any() else 0.0,
    }
    if fit["points"] >= LEAST_POINTS:
        fit |= _fit(np.log(rounds[usable]), np.log(values[usable]))
    return fit


def _fit(log_rounds, log_values):
    line = stats.linregress(log_rounds, log_values)
    # A constant has no variation to explain, and scipy returns a correlation of zero or NaN.
    r_squared = None if math.isnan(line.rvalue) else float(line.rvalue**2)
    return {
        "slope": float(line.slope),
        "intercept": float(line.intercept),
        "standard_error": float(line.stderr),
        "r_squared": r_squared,
    }


def widened(rate, rows):
    """Returns a rate of regret whose interval also covers the intervals of regret.

    The slope is a weighted sum of log regrets. So it is largest where regret is at its upper end
    at large N and at its lower end at small N, and smallest the other way round.

    Args:
        rate: A dictionary with `slope`, `lower` and `upper`. It is the rate of the lower ends of
            regret, which are those against the comparators that were found.
        rows: The rows of the same part at all horizons, with `average_regret_lower` and
            `average_regret_upper`.
    """
    ends = [(row["average_regret_lower"], row["average_regret_upper"]) for row in rows]
    is_unknown = rate["lower"] is None or any(one is None for pair in ends for one in pair)
    # Where regret may be above zero or below it, its logarithm may be anything.
    if is_unknown or any(lower <= 0 < upper for lower, upper in ends):
        return rate | {"lower": None, "upper": None}
    kept = [row for row in rows if row["average_regret_lower"] > 0]
    logs = np.log([row["rounds"] for row in kept])
    room = np.log([row["average_regret_upper"] / row["average_regret_lower"] for row in kept])
    weights = (logs - logs.mean()) / np.sum((logs - logs.mean()) ** 2)
    return rate | {
        "lower": float(rate["lower"] + np.minimum(weights, 0) @ room),
        "upper": float(rate["upper"] + np.maximum(weights, 0) @ room),
    }
