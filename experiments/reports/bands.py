"""Curves of several seeds with bands, and quantities against each other with error bars."""

import numpy as np

from experiments.analysis import estimates
from experiments.reports import drawing, plot_data
from keras_taylor.exploration import shattering


def curves_figure(runs, places, read, title, label, log=False):
    """The mean curve of each optimizer over its seeds, with a band of 95 %.

    Args:
        runs: Runs of several optimizers and seeds.
        places: The key of the rounds that the curve's values are at.
        read: Function from a run to its values.
        title: Title of the picture.
        label: Label of the values.
        log: Whether values are on a logarithmic axis.
    """
    figure, (axes,) = drawing.subplots(1)
    groups = {}
    for run in runs:
        if not run["diverged"]:
            groups.setdefault(run["optimizer"], []).append(run)
    for index, (optimizer, group) in enumerate(groups.items()):
        curves = np.asarray([read(run) for run in group], float)
        draw_band(axes, index, optimizer, group[0][places], curves)
    axes.set(title=title, xlabel="round", ylabel=label)
    if log:
        drawing.scale_logarithmic(axes)
    return drawing.finished(figure)


def draw_band(axes, index, label, x, curves):
    """Draws the mean of curves and, from two of them on, its 95 % interval."""
    mean, lower, upper = shattering.band(curves)
    drawing.line(axes, index, label, x, mean, lower, upper)


def scatter_figure(summaries, x, y):
    """Two quantities of each optimizer against each other, with their 95 % intervals.

    Args:
        summaries: `{optimizer: {quantity: {value, lower, upper}}}`.
        x: The quantity along the first axis.
        y: The other one.
    """
    figure, (axes,) = drawing.subplots(1)
    for index, (optimizer, row) in enumerate(summaries.items()):
        across, up = estimates.from_json(row[x]), estimates.from_json(row[y])
        axes.errorbar(
            across.value,
            up.value,
            xerr=_reach(across),
            yerr=_reach(up),
            fmt="o",
            color=drawing.colour(index),
            label=optimizer,
        )
        ends = {
            f"{name}_{end}": [getattr(found, end)]
            for name, found in {"x": across, "y": up}.items()
            for end in ("lower", "upper")
        }
        plot_data.keep(axes, optimizer, [across.value], [up.value], **ends)
    axes.set(title=f"{y} against {x}", xlabel=x, ylabel=y)
    return drawing.finished(figure)


def _reach(estimate):
    ends = [estimate.value - estimate.lower, estimate.upper - estimate.value]
    return np.nan_to_num(np.abs(np.asarray(ends, float)))[:, None]
