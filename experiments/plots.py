"""Plots of runs as matplotlib figures, in a light and a dark theme, and how they are written."""

import base64
import io
import math

import matplotlib
import numpy as np
from matplotlib import figure

from experiments import plot_data, summary

# Told apart with every common kind of colour blindness, on white and on dark grey.
COLOURS = {
    "light": ("#0072b2", "#d55e00", "#009e73", "#b0408a", "#8a6d00", "#4b4b4b", "#2a9fc4"),
    "dark": ("#56b4e9", "#ff9f45", "#3fd0a4", "#e88fc4", "#f0e442", "#c8c8c8", "#9be7ff"),
}
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)), (0, (8, 3)))
INK = {"light": "#24292f", "dark": "#e6e6e6"}
PAPER = {"light": "#ffffff", "dark": "#16181d"}
FAINT = {"light": "#b8bec6", "dark": "#555c66"}
PANEL_INCHES = (4.8, 3.4)
DOTS_PER_INCH = 150


def decomposition_figure(summaries, part="network", theme="light"):
    """Average loss of each optimizer as a stacked bar: Taylor optimum and, on it, regret.

    A black line spans the interval of the boundary between them. Negative regret, where the run
    did better than any one point in reach, hangs from the optimum, hatched.
    """
    drawing, (axes,) = subplots(1, theme)
    _draw_bars(axes, summaries, part, theme)
    return finished(drawing, theme)


def growth_figure(runs, part="network", theme="light"):
    """Cumulative regret against N on logarithmic axes, with linear regret as a thin line."""
    drawing, (axes,) = subplots(1, theme)
    _draw_growth(axes, runs, part, theme)
    return finished(drawing, theme)


def loss_figure(runs, tracked_rounds, theme="light"):
    """The training loss over rounds, averaged over windows."""
    drawing, (axes,) = subplots(1, theme)
    for index, run in enumerate(runs):
        line(axes, index, theme, _label(run), *summary.windowed_loss(run, tracked_rounds))
    axes.set(title="Training loss", xlabel="round N", ylabel="average loss over a window")
    return finished(drawing, theme)


def regret_figure(runs, part=None, theme="light"):
    """Cumulative linear regret against N, on logarithmic axes, of the network or one layer."""
    drawing, (axes,) = subplots(1, theme)
    _draw_regret(axes, runs, part, theme)
    return finished(drawing, theme)


def layers_figure(runs, layers, theme="light"):
    """Cumulative linear regret of each layer, as small multiples."""
    drawing, panels = subplots(len(layers), theme)
    for axes, layer in zip(panels, layers, strict=False):
        _draw_regret(axes, runs, layer, theme)
    return finished(drawing, theme)


def sandwich_figure(run, theme="light"):
    """What the average Taylor regret of the network lies between, over rounds."""
    drawing, (axes,) = subplots(1, theme)
    progress = run["progress"]
    rounds, losses = progress["round"], np.asarray(progress["average_loss"], float)
    upper = summary.average(run["network"]["linear_regret"], progress["steps"])
    lower = losses - np.asarray(run["average_taylor_loss"]["initial"], float)
    line(axes, 0, theme, "linear regret / N", rounds, upper)
    line(axes, 1, theme, "regret at W¹", rounds, lower)
    axes.fill_between(rounds, lower, upper, color=COLOURS[theme][2], alpha=0.25, lw=0)
    axes.set(title=run["optimizer"], xlabel="round N", ylabel="average regret")
    axes.set(xscale="log")
    return finished(drawing, theme)


def write_png(drawing, path):
    """Writes a figure as PNG, whole or not at all."""
    partial = path.with_name(f".{path.name}")
    drawing.savefig(partial, format="png", dpi=DOTS_PER_INCH)
    partial.replace(path)


def data_uri(drawing):
    """Returns a figure as the data URI of an SVG image, the same for the same figure."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "keras_taylor"}):
        drawing.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _draw_bars(axes, summaries, part, theme):
    labels = {"optimum": "Taylor optimum", "regret": "average regret"}
    for place, item in enumerate(summaries):
        row = item["decomposition"]["parts"].get(part)
        if row is None:
            continue
        optimum, regret = row["optimum_upper"], row["regret_lower"]
        axes.bar(place, optimum, 0.62, color=COLOURS[theme][0], label=labels.pop("optimum", None))
        axes.bar(
            place,
            regret,
            0.62,
            bottom=optimum,
            color=COLOURS[theme][1] if regret > 0 else "none",
            edgecolor=COLOURS[theme][1],
            hatch=None if regret > 0 else "//",
            label=labels.pop("regret", None),
        )
        ends = row["optimum_lower"], row["optimum_upper"]
        axes.plot([place, place], ends, color=INK[theme], lw=3, solid_capstyle="butt")
        for name in ("optimum", "regret"):
            lower, upper = row[f"{name}_lower"], row[f"{name}_upper"]
            shown = upper if name == "optimum" else lower
            plot_data.keep(axes, name, [_label(item)], [shown], y_lower=[lower], y_upper=[upper])
    axes.set_xticks(range(len(summaries)), [_label(item) for item in summaries])
    axes.set(title=_title(part), ylabel="average loss")


def _draw_growth(axes, runs, part, theme):
    for index, run in enumerate(runs):
        rows = [r for r in run["decomposition"].get("parts", ()) if r["part"] == part]
        counts = np.array([row["rounds"] for row in rows], float)
        values = {
            key: _positive([row[key] * row["rounds"] for row in rows])
            for key in ("regret_lower", "regret_upper", "linear_regret")
        }
        lower, upper = values["regret_lower"], values["regret_upper"]
        line(axes, index, theme, _label(run), counts, lower, lower, upper)
        axes.lines[-1].set_marker("o")
        linear = values["linear_regret"]
        axes.plot(counts, linear, color=axes.lines[-1].get_color(), lw=0.8, ls=":")
        plot_data.keep(axes, f"{_label(run)}, linear regret", counts, linear)
    axes.set(title=_title(part), xscale="log", xlabel="round N", ylabel="cumulative regret")
    _finish_logarithmic(axes, theme)


def _title(part):
    return "Network" if part == "network" else part.partition(":")[2]


def _positive(values):
    # What is not positive has no place on a logarithmic axis: the line has a gap there.
    values = np.asarray(values, float)
    return np.where(values > 0, values, np.nan)


def _draw_regret(axes, runs, part, theme):
    for index, run in enumerate(runs):
        series = run["network"] if part is None else run["layers"].get(part)
        if series is not None:
            values = _positive(series["linear_regret"])
            line(axes, index, theme, _label(run), run["progress"]["round"], values)
    axes.set(title="Network" if part is None else part)
    axes.set(xscale="log", xlabel="round N", ylabel="cumulative linear regret")
    _finish_logarithmic(axes, theme)


def _finish_logarithmic(axes, theme):
    if any(np.isfinite(line.get_ydata()).any() for line in axes.lines):
        axes.set(yscale="log")
        _draw_guide(axes, theme)
    else:
        note = "not positive at any round"
        axes.text(0.5, 0.5, note, color=INK[theme], ha="center", transform=axes.transAxes)


def _draw_guide(axes, theme):
    """Draws sqrt(N) through the middle of the picture: only its slope means something."""
    points = np.concatenate([line.get_xydata() for line in axes.lines])
    points = points[np.isfinite(points).all(axis=1)]
    ends = np.array([points[:, 0].min(), points[:, 0].max()])
    height = math.exp(np.mean(np.log(points[:, 1]) - np.log(points[:, 0]) / 2))
    axes.plot(ends, height * np.sqrt(ends), color=FAINT[theme], lw=3, zorder=0, label="slope of √N")


def _label(run):
    return run["optimizer"] + (" (diverged)" if run["diverged"] else "")


def colour(index, theme):
    """Returns the colour of the line of that number."""
    return COLOURS[theme][index % len(COLOURS[theme])]


def line(axes, index, theme, label, x, y, lower=None, upper=None):
    """Draws a line in the colour and style of its number, with a band where its ends are given."""
    shade = colour(index, theme)
    axes.plot(x, y, color=shade, ls=LINES[index % len(LINES)], lw=1.8, label=label)
    if lower is not None:
        axes.fill_between(x, lower, upper, color=shade, alpha=0.2, lw=0)
    plot_data.keep(axes, label, x, y, y_lower=lower, y_upper=upper)


def subplots(count, theme):
    """Returns a figure with so many panels, and a list of them."""
    columns = min(count, 2)
    rows = math.ceil(count / columns)
    size = (PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows)
    drawing = figure.Figure(figsize=size, layout="constrained", facecolor=PAPER[theme])
    panels = list(drawing.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.remove()
    return drawing, panels[:count]


def finished(drawing, theme):
    """Returns a figure in the colours of the theme, with legends."""
    for axes in drawing.axes:
        axes.set_facecolor(PAPER[theme])
        axes.tick_params(which="both", colors=INK[theme])
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[:].set_color(FAINT[theme])
        axes.grid(color=FAINT[theme], alpha=0.35, lw=0.6)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set_color(INK[theme])
        axes.legend(frameon=False, labelcolor=INK[theme], fontsize=9)
    return drawing
