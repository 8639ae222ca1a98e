"""Learning rates to try, and which of them was best."""

import math

# Rates are an optimizer's own times these, half a decade apart.
RATE_RATIO = 10**0.5
FACTORS = (0.1, 10**-0.5, 1.0, 10**0.5, 10.0, 10**1.5)


def rounded(rate):
    """Returns a rate rounded to three significant digits."""
    return float(f"{rate:.3g}")


def best(grid):
    """Returns the rate of each optimizer with the lowest final loss; `None` if all diverged."""
    found = {}
    for run in grid:
        held = found.setdefault(run["optimizer"], None)
        if run["final_loss"] is not None and (
            held is None or run["final_loss"] < held["final_loss"]
        ):
            found[run["optimizer"]] = run
    return {name: run and run["learning_rate"] for name, run in found.items()}


def beyond_ends(grid):
    """Returns `(optimizer, rate)` for each optimizer whose best rate is an end of its grid.

    The rate is the next one beyond that end.
    """
    found = []
    for name, rate in best(grid).items():
        tried = [run["learning_rate"] for run in grid if run["optimizer"] == name]
        if rate == max(tried):
            found.append((name, _near_half_decade(rate * RATE_RATIO)))
        elif rate == min(tried):
            found.append((name, _near_half_decade(rate / RATE_RATIO)))
    return found


def _near_half_decade(rate):
    """Returns a rate rounded to three digits, or to the half decade that it is nearly equal to.

    Rates of a grid are rounded, so the rate after 0.0316 is 0.09993, which becomes 0.1.
    """
    half_decades = 2 * math.log10(rate)
    is_near = abs(half_decades - round(half_decades)) < 0.01
    return rounded(10 ** (round(half_decades) / 2) if is_near else rate)
