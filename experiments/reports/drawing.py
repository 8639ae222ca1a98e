"""Plots of runs as matplotlib figures, and how they are written: on white, or made dark."""

import base64
import io
import math
import re

import matplotlib
import numpy as np
from matplotlib import figure, ticker

from experiments.analysis import summary
from experiments.reports import plot_data

# Told apart with every common kind of colour blindness, on white and on dark grey.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b0408a", "#8a6d00", "#4b4b4b", "#2a9fc4")
INK, PAPER, FAINT = "#24292f", "#ffffff", "#b8bec6"
DARK = {
    **dict(
        zip(
            COLOURS,
            ("#56b4e9", "#ff9f45", "#3fd0a4", "#e88fc4", "#f0e442", "#c8c8c8", "#9be7ff"),
            strict=True,
        )
    ),
    INK: "#e6e6e6",
    PAPER: "#16181d",
    FAINT: "#555c66",
}
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)), (0, (8, 3)))
PANEL_INCHES = (4.8, 3.4)
DOTS_PER_INCH = 150


def decomposition_figure(summaries, part="network"):
    """Average loss of each optimizer as a stacked bar: Taylor optimum and, on it, regret.

    A black line spans the interval of the boundary between them. Negative regret, where the run
    did better than any one point in reach, hangs from the optimum, hatched.
    """
    drawing, (axes,) = subplots(1)
    _draw_bars(axes, summaries, part)
    return finished(drawing)


def growth_figure(runs, part="network"):
    """Cumulative regret against N on logarithmic axes, with linear regret as a thin line."""
    drawing, (axes,) = subplots(1)
    _draw_growth(axes, runs, part)
    return finished(drawing)


def loss_figure(runs, tracked_rounds):
    """The training loss over rounds, averaged over windows."""
    drawing, (axes,) = subplots(1)
    for index, run in enumerate(runs):
        line(axes, index, _label(run), *summary.windowed_loss(run, tracked_rounds))
    axes.set(title="Training loss", xlabel="round N", ylabel="average loss over a window")
    return finished(drawing)


def regret_figure(runs, part=None):
    """Cumulative linear regret against N, on logarithmic axes, of the network or one layer."""
    drawing, (axes,) = subplots(1)
    _draw_regret(axes, runs, part)
    return finished(drawing)


def layers_figure(runs, layers):
    """Cumulative linear regret of each layer, as small multiples."""
    drawing, panels = subplots(len(layers))
    for axes, layer in zip(panels, layers, strict=False):
        _draw_regret(axes, runs, layer)
    return finished(drawing)


def sandwich_figure(run):
    """What the average Taylor regret of the network lies between, over rounds."""
    drawing, (axes,) = subplots(1)
    progress = run["progress"]
    rounds, losses = progress["round"], np.asarray(progress["average_loss"], float)
    upper = summary.average(run["network"]["linear_regret"], progress["steps"])
    lower = losses - np.asarray(run["average_taylor_loss"]["initial"], float)
    line(axes, 0, "linear regret / N", rounds, upper)
    line(axes, 1, "regret at W¹", rounds, lower)
    axes.fill_between(rounds, lower, upper, color=COLOURS[2], alpha=0.25, lw=0)
    axes.set(title=run["optimizer"], xlabel="round N", ylabel="average regret")
    axes.set(xscale="log")
    return finished(drawing)


def write_png(drawing, path):
    """Writes a figure as PNG, whole or not at all."""
    partial = path.with_name(f".{path.name}")
    drawing.savefig(partial, format="png", dpi=DOTS_PER_INCH)
    partial.replace(path)


def data_uris(drawing):
    """Returns a figure as data URIs of SVG images, on white and on dark; the same for the same."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "keras_taylor"}):
        drawing.savefig(buffer, format="svg", metadata={"Date": None})
    light = buffer.getvalue().decode("utf-8")
    dark = re.sub("#[0-9a-f]{6}", lambda found: DARK.get(found[0], found[0]), light)
    return tuple(
        "data:image/svg+xml;base64," + base64.b64encode(text.encode("utf-8")).decode("ascii")
        for text in (light, dark)
    )


def _draw_bars(axes, summaries, part):
    labels = {"optimum": "Taylor optimum", "regret": "average regret"}
    for place, item in enumerate(summaries):
        row = item["decomposition"]["parts"].get(part)
        if row is None:
            continue
        optimum, regret = row["optimum_upper"], row["regret_lower"]
        axes.bar(place, optimum, 0.62, color=COLOURS[0], label=labels.pop("optimum", None))
        axes.bar(
            place,
            regret,
            0.62,
            bottom=optimum,
            color=COLOURS[1] if regret > 0 else "none",
            edgecolor=COLOURS[1],
            hatch=None if regret > 0 else "//",
            label=labels.pop("regret", None),
        )
        ends = row["optimum_lower"], row["optimum_upper"]
        axes.plot([place, place], ends, color=INK, lw=3, solid_capstyle="butt")
        for name in ("optimum", "regret"):
            lower, upper = row[f"{name}_lower"], row[f"{name}_upper"]
            shown = upper if name == "optimum" else lower
            plot_data.keep(axes, name, [_label(item)], [shown], y_lower=[lower], y_upper=[upper])
    labels = [_label(item).replace(":", "\n") for item in summaries]
    axes.set_xticks(range(len(summaries)), labels)
    axes.set(title=_title(part), ylabel="average loss")


def _draw_growth(axes, runs, part):
    for index, run in enumerate(runs):
        rows = [r for r in run["decomposition"].get("parts", ()) if r["part"] == part]
        counts = np.array([row["rounds"] for row in rows], float)
        values = {
            key: _positive([row[key] * row["rounds"] for row in rows])
            for key in ("regret_lower", "regret_upper", "linear_regret")
        }
        lower, upper = values["regret_lower"], values["regret_upper"]
        line(axes, index, _label(run), counts, lower, lower, upper)
        axes.lines[-1].set_marker("o")
        linear = values["linear_regret"]
        axes.plot(counts, linear, color=axes.lines[-1].get_color(), lw=0.8, ls=":")
        plot_data.keep(axes, f"{_label(run)}, linear regret", counts, linear)
    axes.set(title=_title(part), xscale="log", xlabel="round N", ylabel="cumulative regret")
    _finish_logarithmic(axes)


def _title(part):
    return "Network" if part == "network" else part.partition(":")[2]


def _positive(values):
    # What is not positive has no place on a logarithmic axis: the line has a gap there.
    values = np.asarray(values, float)
    return np.where(values > 0, values, np.nan)


def _draw_regret(axes, runs, part):
    for index, run in enumerate(runs):
        series = run["network"] if part is None else run["layers"].get(part)
        if series is not None:
            values = _positive(series["linear_regret"])
            line(axes, index, _label(run), run["progress"]["round"], values)
    axes.set(title="Network" if part is None else part)
    axes.set(xscale="log", xlabel="round N", ylabel="cumulative linear regret")
    _finish_logarithmic(axes)


def _finish_logarithmic(axes):
    if any(np.isfinite(line.get_ydata()).any() for line in axes.lines):
        axes.set(yscale="log")
        _draw_guide(axes)
    else:
        note = "not positive at any round"
        axes.text(0.5, 0.5, note, color=INK, ha="center", transform=axes.transAxes)


def _draw_guide(axes):
    """Draws sqrt(N) through the middle of the picture: only its slope means something."""
    points = np.concatenate([line.get_xydata() for line in axes.lines])
    points = points[np.isfinite(points).all(axis=1) & (points > 0).all(axis=1)]
    if not len(points):
        return
    ends = np.array([points[:, 0].min(), points[:, 0].max()])
    height = math.exp(np.mean(np.log(points[:, 1]) - np.log(points[:, 0]) / 2))
    axes.plot(ends, height * np.sqrt(ends), color=FAINT, lw=3, zorder=0, label="slope of √N")


def _label(run):
    return run["optimizer"] + (" (diverged)" if run["diverged"] else "")


def colour(index):
    """Returns the colour of the line of that number."""
    return COLOURS[index % len(COLOURS)]


def line(axes, index, label, x, y, lower=None, upper=None):
    """Draws a line in the colour and style of its number, with a band where its ends are given."""
    shade = colour(index)
    axes.plot(x, y, color=shade, ls=LINES[index % len(LINES)], lw=1.8, label=label)
    if lower is not None:
        axes.fill_between(x, lower, upper, color=shade, alpha=0.2, lw=0)
    plot_data.keep(axes, label, x, y, y_lower=lower, y_upper=upper)


def subplots(count):
    """Returns a figure with so many panels, and a list of them."""
    columns = min(count, 2)
    rows = math.ceil(count / columns)
    size = (PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows)
    drawing = figure.Figure(figsize=size, layout="constrained", facecolor=PAPER)
    panels = list(drawing.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.remove()
    return drawing, panels[:count]


def scale_logarithmic(axes):
    """Makes the values' axis logarithmic if a line has anything to show there."""
    if any((np.asarray(line.get_ydata(), float) > 0).any() for line in axes.lines):
        axes.set(yscale="log")


def _label_logarithmic(axis):
    """Writes numbers rather than powers of ten; between these too, within less than a decade."""
    if axis.get_scale() == "log":
        lower, upper = sorted(axis.get_view_interval())
        plain = ticker.StrMethodFormatter("{x:g}")
        axis.set_major_formatter(plain)
        axis.set_minor_formatter(plain if upper < 10 * lower else ticker.NullFormatter())


def finished(drawing):
    """Returns a figure in the colours of all, with legends."""
    for axes in drawing.axes:
        axes.set_facecolor(PAPER)
        for axis in (axes.xaxis, axes.yaxis):
            _label_logarithmic(axis)
        axes.tick_params(which="both", colors=INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[:].set_color(FAINT)
        axes.grid(color=FAINT, alpha=0.35, lw=0.6)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set_color(INK)
        axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return drawing
