"""What the runs of `experiments.shattered_gradients` come to: half-widths and trends by depth."""

import math

import numpy as np

from experiments.analysis import estimates

COLUMNS = ("kind", "depth", "seed", "quantity", "place", "value")


def summarize(runs):
    """Returns the median half-width of each kind and depth: its mean over seeds and range."""
    summary = {}
    for run in runs:
        # JSON holds infinite half-widths as `None`.
        widths = [math.inf if width is None else width for width in run["half_widths"]]
        by_depth = summary.setdefault(run["kind"], {})
        by_depth.setdefault(str(run["depth"]), []).append(float(np.median(widths)))
    return {
        kind: {depth: _range(medians) for depth, medians in by_depth.items()}
        for kind, by_depth in summary.items()
    }


def _range(medians):
    finite = [median for median in medians if math.isfinite(median)]
    return {
        "value": float(np.median(medians)),
        "lower": min(medians),
        "upper": max(medians),
        "never": len(medians) - len(finite),
    }


def long_rows(run):
    """Yields everything that was measured of a network, in long format."""
    head = {name: run[name] for name in ("kind", "depth", "seed")}
    mean = np.nanmean(np.asarray(run["autocorrelation"], float), axis=0)
    curves = {
        "autocorrelation": (run["lags"], mean),
        "input correlation": (run["distances"], run["input_correlation"]),
        "weight correlation": (run["distances"], run["weight_correlation"]),
        **{f"autocorrelation at {name}": (run["lags"], c) for name, c in run["by_layer"].items()},
    }
    for quantity, (places, values) in curves.items():
        for place, value in zip(places, values, strict=True):
            yield head | {"quantity": quantity, "place": place, "value": value}


def trend(runs, kind):
    """Returns Spearman's correlation of mean autocorrelation and depth, seeds as groups by depth.

    The mean is over half of the line. Half-widths are not used, since some are infinite.
    """
    groups = {}
    for run in runs:
        if run["kind"] == kind:
            mean = float(np.nanmean(np.asarray(run["autocorrelation"], float)))
            # Rounded, since that of a linear network is 1 up to rounding errors.
            groups.setdefault(run["depth"], []).append((run["depth"], round(mean, 4)))
    return estimates.rank_correlation(list(groups.values()))


def trends(runs):
    """Returns the `trend` of each kind."""
    return {kind: trend(runs, kind) for kind in dict.fromkeys(run["kind"] for run in runs)}
