"""Whether advice on the learning rate helps: its direction, and the final loss where it leads."""

import math

import numpy as np

# A rate at least so far from the best one should be told to change, and the worst mistake is a
# wrong way from a rate that is even farther. Just below half decades, since rates are rounded.
FAR, VERY_FAR = 3.0, 9.9
WITHIN = 1.1
OTHERS = ("default", "range_steepest", "range_minimum")
COLUMNS = (
    "optimizer",
    "seed",
    "begin",
    "over_best_rate",
    "verdict",
    "direction",
    "gradient_agreement",
    "step_ratio",
    "suggestions",
    "loss_before",
    "loss_after",
    "best_loss",
)


def best(case):
    """Returns the run of the grid with the lowest final loss, or `None` if all diverged."""
    finished = [run for run in case["grid"] if run["final_loss"] is not None]
    return min(finished, key=lambda run: run["final_loss"], default=None)


def direction(run, best_rate):
    """Returns whether the advice of a run points to the best rate: right, wrong, fits or none."""
    if run["factor"] is None:
        return "none"
    if run["verdict"] == "fits":
        return "fits"
    too_small = run["learning_rate"] < best_rate
    return "right" if too_small == (run["factor"] > 1) else "wrong"


def rows(case):
    """Returns a row for each rate of the grid of a case; none if all diverged."""
    found = best(case)
    if found is None:
        return []
    return [_row(case, run, advised, found) for run, advised in zip_grid(case)]


def zip_grid(case):
    """Yields `(run, advised)` for each rate of the grid."""
    return zip(case["grid"], case["advised"], strict=True)


def _row(case, run, advised, found):
    return {
        "optimizer": case["optimizer"],
        "seed": case["seed"],
        "begin": run["learning_rate"],
        "over_best_rate": run["learning_rate"] / found["learning_rate"],
        "verdict": run["verdict"],
        "direction": direction(run, found["learning_rate"]),
        "gradient_agreement": run["gradient_agreement"],
        "step_ratio": run["step_ratio"],
        "suggestions": " ".join(f"{rate:.3g}" for rate in advised["suggestions"]),
        "loss_before": run["final_loss"],
        "loss_after": advised["final_loss"],
        "best_loss": found["final_loss"],
    }


def summarize(cases):
    """Returns for each optimizer, and for `"all"`, what the advice and the other ways came to.

    Shares are of begins (rates of the grid), for the other ways of seeds. A run that diverged
    counts as infinitely above the best.
    """
    optimizers = dict.fromkeys(case["optimizer"] for case in cases)
    groups = {name: [c for c in cases if c["optimizer"] == name] for name in optimizers}
    return {name: _summary(group) for name, group in (groups | {"all": cases}).items()}


def _summary(cases):
    found = [row for case in cases for row in rows(case)]
    far = [row for row in found if _distance(row) >= FAR]
    very_far = [row for row in far if _distance(row) >= VERY_FAR]
    return {
        "begins": len(found),
        "far": len(far),
        "right_or_fits": _share(row["direction"] in ("right", "fits") for row in far),
        "right": _share(row["direction"] == "right" for row in far),
        "wrong_when_very_far": sum(row["direction"] == "wrong" for row in very_far),
        "before": _ratios([_over(row["loss_before"], row["best_loss"]) for row in found]),
        "advised": _ratios([_over(row["loss_after"], row["best_loss"]) for row in found]),
        **{name: _ratios(other_ratios(cases, name)) for name in OTHERS},
    }


def other_ratios(cases, name):
    """Returns the final loss of another way over the best of the grid, for each case."""
    return [
        _over(case["others"][name]["final_loss"], found["final_loss"])
        for case in cases
        if (found := best(case)) is not None
    ]


def _distance(row):
    ratio = row["over_best_rate"]
    return max(ratio, 1 / ratio)


def _over(loss, best_loss):
    return math.inf if loss is None else loss / best_loss


def _share(flags):
    flags = list(flags)
    return float(np.mean(flags)) if flags else math.nan


def _ratios(ratios):
    if not ratios:
        return {"within": math.nan, "median": math.nan}
    return {
        "within": _share(ratio <= WITHIN for ratio in ratios),
        # Without interpolation, which infinities do not bear.
        "median": float(np.quantile(ratios, 0.5, method="lower")),
    }
