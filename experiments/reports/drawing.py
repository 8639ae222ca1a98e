"""What all pictures share: panels, lines, colours, and writing them on white or on dark."""

import base64
import io
import math
import re
import weakref

import matplotlib
import numpy as np
from matplotlib import figure, ticker

from experiments.reports import plot_data
from experiments.runs import results
from keras_taylor.exploration import shattering

# Distinct with every common kind of colour blindness, on white and on dark grey.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b0408a", "#8a6d00", "#4b4b4b", "#2a9fc4", "#6a3fb5")
INK, PAPER, FAINT = "#24292f", "#ffffff", "#b8bec6"
DARK = {
    **dict(
        zip(
            COLOURS,
            (
                "#56b4e9",
                "#ff9f45",
                "#3fd0a4",
                "#e88fc4",
                "#f0e442",
                "#c8c8c8",
                "#9be7ff",
                "#b9a2ff",
            ),
            strict=True,
        )
    ),
    INK: "#e6e6e6",
    PAPER: "#16181d",
    FAINT: "#555c66",
}
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)), (0, (8, 3)), (0, (3, 1, 1, 1)))
PANEL_INCHES = (4.8, 3.4)
DOTS_PER_INCH = 150
# Figures as SVG: a report shows what is also written to a file.
_svgs = weakref.WeakKeyDictionary()
TICK_SIZE, LEGEND_SIZE, LABEL_SIZE, TITLE_SIZE = 11, 10.5, 12, 13


def write_images(drawing, directory, name):
    """Writes a figure as PNG and as SVG, each completely or not at all."""
    results.write_text(directory / f"{name}.svg", svg(drawing))
    with results.replacing(directory / f"{name}.png", "wb") as file:
        drawing.savefig(file, format="png", dpi=DOTS_PER_INCH)


def svg(drawing):
    """Returns a figure, which does not change any more, as the text of an SVG image.

    Equal figures give equal texts.
    """
    if drawing not in _svgs:
        buffer = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "keras_taylor"}):
            drawing.savefig(buffer, format="svg", metadata={"Date": None})
        # Other formats have the same layout, which takes as long as drawing does.
        drawing.set_layout_engine("none")
        _svgs[drawing] = buffer.getvalue().decode("utf-8")
    return _svgs[drawing]


def data_uris(drawing):
    """Returns a figure as data URIs of two SVG images, on white and on dark."""
    light = svg(drawing)
    dark = re.sub("#[0-9a-f]{6}", lambda found: DARK.get(found[0], found[0]), light)
    return tuple(
        "data:image/svg+xml;base64," + base64.b64encode(text.encode("utf-8")).decode("ascii")
        for text in (light, dark)
    )


def colour(index):
    """Returns the colour of line number `index`."""
    return COLOURS[index % len(COLOURS)]


def line(axes, index, label, x, y, lower=None, upper=None):
    """Draws line number `index` in its colour and style, with a band from `lower` to `upper`."""
    shade = colour(index)
    axes.plot(x, y, color=shade, ls=LINES[index % len(LINES)], lw=1.8, label=label)
    if lower is not None:
        axes.fill_between(x, lower, upper, color=shade, alpha=0.2, lw=0)
    plot_data.add(axes, label, x, y, y_lower=lower, y_upper=upper)


def subplots(panel_count):
    """Returns a figure with `panel_count` panels, and a list of them."""
    columns = min(panel_count, 2)
    rows = math.ceil(panel_count / columns)
    size = (PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows)
    drawing = figure.Figure(figsize=size, layout="constrained", facecolor=PAPER)
    panels = list(drawing.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[panel_count:]:
        axes.remove()
    return drawing, panels[:panel_count]


def scale_logarithmic(axes, axis="y"):
    """Makes an axis, `"x"` or `"y"`, logarithmic if a line has a positive value there."""
    values = [line.get_xdata() if axis == "x" else line.get_ydata() for line in axes.lines]
    if any((np.asarray(one, float) > 0).any() for one in values):
        axes.set(**{f"{axis}scale": "log"})


def is_empty(axes):
    """Tells whether a panel has no point, as where all runs diverged."""
    places = [line.get_ydata() for line in axes.lines]
    # Bands of nothing have vertices, too.
    places += [path.vertices for band in axes.collections for path in band.get_paths()]
    return not axes.patches and not any(np.isfinite(np.asarray(p, float)).any() for p in places)


def write_note(axes, text):
    """Writes a text in the middle of a panel."""
    axes.text(0.5, 0.5, text, color=INK, ha="center", transform=axes.transAxes)


def _label_logarithmic(axis):
    """Labels an axis with numbers instead of powers of ten.

    Where it spans less than a decade, the ticks between the powers are labelled too.
    """
    if axis.get_scale() == "log":
        lower, upper = sorted(axis.get_view_interval())
        plain = ticker.StrMethodFormatter("{x:g}")
        axis.set_major_formatter(plain)
        axis.set_minor_formatter(plain if upper < 10 * lower else ticker.NullFormatter())


def finished(drawing):
    """Returns a figure with its colours, labels and legends set."""
    for axes in drawing.axes:
        axes.set_facecolor(PAPER)
        for axis in (axes.xaxis, axes.yaxis):
            _label_logarithmic(axis)
        axes.tick_params(which="both", colors=INK, labelsize=TICK_SIZE)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[:].set_color(FAINT)
        axes.grid(color=FAINT, alpha=0.35, lw=0.6)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set(color=INK, fontsize=TITLE_SIZE if text is axes.title else LABEL_SIZE)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, labelcolor=INK, fontsize=LEGEND_SIZE)
        if is_empty(axes) and not axes.texts:
            write_note(axes, "no run has a value")
    return drawing


def curves_figure(runs, places, read, title, label, log=False):
    """Draws the mean curve of each optimizer over its seeds, with its 95 % interval as a band.

    Args:
        runs: Runs of several optimizers and seeds.
        places: The key under which a run has the rounds of the curve's values.
        read: Function from a run to its values.
        title: Title of the picture.
        label: Label of the values.
        log: Whether the axis of the values is logarithmic.
    """
    drawing, (axes,) = subplots(1)
    groups = {}
    for run in runs:
        if not run["diverged"]:
            groups.setdefault(run["optimizer"], []).append(run)
    for index, (optimizer, group) in enumerate(groups.items()):
        curves = np.asarray([read(run) for run in group], float)
        draw_band(axes, index, optimizer, group[0][places], curves)
    axes.set(title=title, xlabel="round", ylabel=label)
    if log:
        scale_logarithmic(axes)
    return finished(drawing)


def draw_band(axes, index, label, x, curves):
    """Draws the mean of curves and, if there are at least two, its 95 % interval."""
    mean, lower, upper = shattering.band(curves)
    line(axes, index, label, x, mean, lower, upper)
