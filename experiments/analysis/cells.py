"""How numbers, intervals and estimates are written, in tables and in the text of evidence."""

import math

MISSING = "–"


def number(value, digits=4):
    """Returns a number with `digits` significant digits, and a dash for `None` and NaN."""
    return MISSING if value is None or math.isnan(value) else f"{value:.{digits}g}"


def slope(growth):
    """Returns a slope with its standard error, such as `0.71 ± 0.02`.

    Args:
        growth: A dictionary from `experiments.analysis.growth.log_log_slope`.
    """
    if growth["slope"] is None:
        return MISSING
    return f"{growth['slope']:.2f} ± {growth['standard_error']:.2f}"


def interval(lower, upper, digits=3):
    """Returns an interval, such as `0.777…0.790`; one number if both ends are written alike."""
    ends = number(lower, digits), number(upper, digits)
    return ends[0] if ends[0] == ends[1] else "…".join(ends)


def estimate(found, digits=4):
    """Returns a value with its 95 % interval, such as `0.71 (0.65…0.78)`.

    Args:
        found: A dictionary with `value`, `lower` and `upper`.
        digits: Significant digits.
    """
    value, lower, upper = (found[key] for key in ("value", "lower", "upper"))
    if value is None or not math.isfinite(value):
        return MISSING
    if lower is None or not math.isfinite(lower):
        return number(value, digits)
    return f"{number(value, digits)} ({number(lower, digits)}…{number(upper, digits)})"


def rate(found):
    """Returns a rate of regret with its 95 % interval, such as `0.71 (0.65…0.78)`."""
    if found is None or found["slope"] is None:
        return MISSING
    if found["lower"] is None:
        return f"{found['slope']:.2f}"
    return f"{found['slope']:.2f} ({found['lower']:.2f}…{found['upper']:.2f})"
