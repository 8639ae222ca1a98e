"""The tables, pictures and explanations of `experiments.shattered_gradients`."""

import functools
import math

import numpy as np
from matplotlib import ticker

from experiments.analysis import cells, estimates, shattering_summary
from experiments.reports import drawing, report

HOW_TO_READ = {
    "autocorrelation": "The correlation of an output's gradient in the input at two inputs on a "
    "line between two digits: 1 where the gradients are equal, 0 where they are orthogonal. It is "
    "not centred, so that of a linear network is 1 everywhere.",
    "half-width": "The distance along the line, as a share of it, at which the autocorrelation has "
    "fallen to one half: the median over lines and outputs, and its range over seeds. It is "
    "infinite where most lines never fall to one half.",
    "correlation by distance": "The correlation of the gradients at an input and at a second one "
    "in a random direction from it. Distance 1 is the mean distance between two digits.",
}


def width_table(summary):
    """Returns header and rows: half-widths, kinds down and depths across."""
    depths = list(dict.fromkeys(depth for row in summary.values() for depth in row))
    header = ("network", *(f"depth {depth}" for depth in depths))
    return header, [
        (kind, *(_width(row[depth]) for depth in depths)) for kind, row in summary.items()
    ]


def _width(found):
    return "∞" if math.isinf(found["value"]) else cells.number(found["value"], 2)


def figures(runs):
    """Returns `{name: draw()}` of all pictures."""
    kinds = list(dict.fromkeys(run["kind"] for run in runs))
    found = {"half_widths": functools.partial(half_width_figure, runs)}
    found |= {
        f"autocorrelation_{kind.replace(' ', '_')}": functools.partial(depth_figure, runs, kind)
        for kind in kinds
    }
    deepest = max(run["depth"] for run in runs)
    for key in ("input_correlation", "weight_correlation"):
        found[key] = functools.partial(distance_figure, runs, deepest, key)
    rectifier = next((kind for kind in kinds if "relu" in kind), kinds[0])
    found["by_layer"] = functools.partial(layer_figure, runs, rectifier, deepest)
    return found


def half_width_figure(runs):
    """Draws the half-width against depth for each kind; infinite ones are left out."""
    figure, (axes,) = drawing.subplots(1)
    for index, (kind, row) in enumerate(shattering_summary.summarize(runs).items()):
        depths = [int(depth) for depth in row]
        values = np.array([found["value"] for found in row.values()])
        drawing.line(axes, index, kind, depths, np.where(np.isfinite(values), values, np.nan))
        axes.lines[-1].set_marker("o")
    axes.set(title="Half-width by depth", xlabel="hidden layers", ylabel="share of the line")
    axes.set(xscale="log")
    drawing.scale_logarithmic(axes)
    depths = sorted({run["depth"] for run in runs})
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    return drawing.finished(figure)


def depth_figure(runs, kind):
    """Draws the autocorrelation along lines, a curve with a 95 % band for each depth."""
    figure, (axes,) = drawing.subplots(1)
    of_kind = [run for run in runs if run["kind"] == kind]
    for index, depth in enumerate(dict.fromkeys(run["depth"] for run in of_kind)):
        group = [run for run in of_kind if run["depth"] == depth]
        curves = np.concatenate([np.asarray(run["autocorrelation"], float) for run in group])
        drawing.draw_band(axes, index, f"depth {depth}", group[0]["lags"], curves)
    axes.set(title=kind, xlabel="distance, share of the line", ylabel="autocorrelation")
    return drawing.finished(figure)


def layer_figure(runs, kind, depth):
    """Draws the autocorrelation of the gradient in some layers' outputs, with 95 % bands."""
    figure, (axes,) = drawing.subplots(1)
    group = [run for run in runs if run["kind"] == kind and run["depth"] == depth]
    # Keras counts the layers of a process, so only their order is the same in all runs.
    curves = [list(run["by_layer"].values()) for run in group]
    count = len(curves[0])
    for index, of_layer in enumerate(zip(*curves, strict=True)):
        name = f"layer {index + 1} of {count} shown"
        drawing.draw_band(axes, index, name, group[0]["lags"], np.asarray(of_layer, float))
    axes.set(title=f"Gradient in layers' outputs: {kind}, depth {depth}")
    axes.set(xlabel="distance, share of the line", ylabel="autocorrelation")
    return drawing.finished(figure)


def distance_figure(runs, depth, key):
    """Draws the correlation of gradients by distance at one depth, a curve for each kind."""
    figure, (axes,) = drawing.subplots(1)
    groups = {}
    for run in runs:
        if run["depth"] == depth:
            groups.setdefault(run["kind"], []).append(run)
    for index, (kind, group) in enumerate(groups.items()):
        curves = np.asarray([run[key] for run in group], float)
        drawing.draw_band(axes, index, kind, group[0]["distances"], curves)
    what = "input" if key == "input_correlation" else "weights"
    axes.set(title=f"Gradient in the {what}, depth {depth}", xscale="log")
    axes.set(xlabel="distance, share of that between digits", ylabel="correlation")
    return drawing.finished(figure)


def trend_table(runs):
    """Returns header and rows: whether the autocorrelation falls with depth, for each kind."""
    header = ("network", "rank correlation of autocorrelation and depth", "p", "falls with depth")
    rows = []
    for kind, found in shattering_summary.trends(runs).items():
        rows.append(
            (
                kind,
                cells.estimate(vars(found), 2),
                cells.number(found.p_value, 2),
                estimates.verdict(found, -1),
            )
        )
    return header, rows


def sections(runs, summary):
    """Returns the sections of the report, the most important first."""
    pictures = report.pictures(
        figures(runs), lambda name: f"{name.replace('_', ' ')}, with 95 % bands"
    )
    return [
        report.Section(
            "Half-width by depth", table=report.Table(*width_table(summary)), pictures=pictures
        ),
        report.Section("Do gradients shatter with depth?", table=report.Table(*trend_table(runs))),
        report.Section("How to read it", terms=HOW_TO_READ),
    ]
