"""The pictures of `experiments.taylor_regret`: bars of the loss, growth of regret, its bounds."""

import math

import numpy as np

from experiments.analysis import regret_summary
from experiments.reports import drawing, plot_data

# The columns of a decomposition that are the ends of an average's interval.
OVER_ROOT = {
    "regret": ("average_regret_lower", "average_regret_upper"),
    "optimum": ("optimum_lower", "optimum_upper"),
    "loss": ("average_loss", "average_loss"),
}


def decomposition_figure(summaries, part="network"):
    """Draws the average loss of each optimizer as a bar: Taylor optimum and, on it, regret.

    A black line shows the interval of the boundary between the two. Negative regret, where the run
    did better than every fixed comparator in reach, hangs from the optimum and is hatched.
    """
    figure, (axes,) = drawing.subplots(1)
    _draw_bars(axes, summaries, part)
    return drawing.finished(figure)


def growth_figure(runs, part="network"):
    """Draws cumulative regret against N on logarithmic axes, and linear regret as a thin line."""
    figure, (axes,) = drawing.subplots(1)
    _draw_growth(axes, runs, part)
    return drawing.finished(figure)


def root_figure(runs, part="network"):
    """Draws cumulative regret, optimum and loss over √N: what grows like √N is flat."""
    figure, panels = drawing.subplots(len(OVER_ROOT))
    for axes, quantity in zip(panels, OVER_ROOT, strict=True):
        _draw_over_root(axes, runs, part, quantity)
    return drawing.finished(figure)


def loss_figure(runs, tracked_rounds):
    """Draws the training loss over rounds, averaged over windows."""
    figure, (axes,) = drawing.subplots(1)
    for index, run in enumerate(runs):
        drawing.line(axes, index, _label(run), *regret_summary.windowed_loss(run, tracked_rounds))
    axes.set(title="Training loss", xlabel="round N", ylabel="average loss over a window")
    return drawing.finished(figure)


def regret_figure(runs, part=None):
    """Draws cumulative linear regret of the network or one layer on logarithmic axes."""
    figure, (axes,) = drawing.subplots(1)
    _draw_regret(axes, runs, part)
    return drawing.finished(figure)


def layers_figure(runs, layers):
    """Draws cumulative linear regret of each layer in its own panel."""
    figure, panels = drawing.subplots(len(layers))
    for axes, layer in zip(panels, layers, strict=False):
        _draw_regret(axes, runs, layer)
    return drawing.finished(figure)


def sandwich_figure(run):
    """Draws a lower and an upper bound of the network's average Taylor regret over rounds."""
    figure, (axes,) = drawing.subplots(1)
    progress = run["progress"]
    rounds, losses = progress["round"], np.asarray(progress["average_loss"], float)
    upper = regret_summary.average(run["network"]["linear_regret"], progress["steps"])
    lower = losses - np.asarray(run["average_taylor_loss"]["initial"], float)
    drawing.line(axes, 0, "linear regret / N", rounds, upper)
    drawing.line(axes, 1, "regret at W¹", rounds, lower)
    axes.fill_between(rounds, lower, upper, color=drawing.COLOURS[2], alpha=0.25, lw=0)
    axes.set(title=run["optimizer"], xlabel="round N", ylabel="average regret")
    drawing.scale_logarithmic(axes, "x")
    return drawing.finished(figure)


def _draw_bars(axes, summaries, part):
    labels = {"optimum": "Taylor optimum", "regret": "average regret"}
    for place, item in enumerate(summaries):
        row = item["decomposition"]["parts"].get(part)
        if row is None:
            continue
        optimum, regret = row["optimum_upper"], row["average_regret_lower"]
        axes.bar(place, optimum, 0.62, color=drawing.COLOURS[0], label=labels.pop("optimum", None))
        axes.bar(
            place,
            regret,
            0.62,
            bottom=optimum,
            color=drawing.COLOURS[1] if regret > 0 else "none",
            edgecolor=drawing.COLOURS[1],
            hatch=None if regret > 0 else "//",
            label=labels.pop("regret", None),
        )
        ends = row["optimum_lower"], row["optimum_upper"]
        axes.plot([place, place], ends, color=drawing.INK, lw=3, solid_capstyle="butt")
        for name, shown in (("optimum", "upper"), ("average_regret", "lower")):
            ends = {f"y_{end}": [row[f"{name}_{end}"]] for end in ("lower", "upper")}
            plot_data.add(axes, name, [_label(item)], [row[f"{name}_{shown}"]], **ends)
    labels = [_label(item).replace(":", "\n") for item in summaries]
    axes.set_xticks(range(len(summaries)), labels)
    axes.set(title=_title(part), ylabel="average loss")


def _draw_growth(axes, runs, part):
    for index, run in enumerate(runs):
        rows = [r for r in run["decomposition"].get("parts", ()) if r["part"] == part]
        horizons = np.array([row["rounds"] for row in rows], float)
        values = {
            key: _positive([row[key] * row["rounds"] for row in rows])
            for key in ("average_regret_lower", "average_regret_upper")
        }
        lower, upper = values["average_regret_lower"], values["average_regret_upper"]
        drawing.line(axes, index, _label(run), horizons, lower, lower, upper)
        axes.lines[-1].set_marker("o")
        if rows:
            _draw_linear_regret(axes, run, part, horizons)
    axes.set(title=_title(part), xlabel="round N", ylabel="cumulative regret")
    _finish_logarithmic(axes)


def _draw_linear_regret(axes, run, part, horizons):
    """Draws linear regret as it was read in training, from the first of the horizons on."""
    series = run["network"] if part == "network" else run["layers"][part.partition(":")[2]]
    steps = np.array(run["progress"]["steps"])
    is_shown = steps >= min(horizons)
    linear = _positive(series["linear_regret"])[is_shown]
    axes.plot(steps[is_shown], linear, color=axes.lines[-1].get_color(), lw=0.8, ls=":")
    plot_data.add(axes, f"{_label(run)}, linear regret", steps[is_shown], linear)


def _title(part):
    return "Network" if part == "network" else part.partition(":")[2]


def _positive(values):
    # A logarithmic axis has no place for the other values: the line has a gap there.
    values = np.asarray(values, float)
    return np.where(values > 0, values, np.nan)


def _draw_regret(axes, runs, part):
    for index, run in enumerate(runs):
        series = run["network"] if part is None else run["layers"].get(part)
        if series is not None:
            values = _positive(series["linear_regret"])
            drawing.line(axes, index, _label(run), run["progress"]["round"], values)
            _draw_guarantee(axes, run, series)
    axes.set(title="Network" if part is None else part)
    axes.set(xlabel="round N", ylabel="cumulative linear regret")
    _finish_logarithmic(axes)


def _draw_guarantee(axes, run, series):
    """Draws the guarantee as a dotted line in the colour of the line before."""
    if "guarantee" in series:
        rounds, values = run["progress"]["round"], _positive(series["guarantee"])
        axes.plot(rounds, values, color=axes.lines[-1].get_color(), lw=0.8, ls=":")
        plot_data.add(axes, f"{_label(run)}, guarantee", rounds, values)


def _draw_over_root(axes, runs, part, quantity):
    """Draws an interval of a cumulative quantity over the square root of N."""
    for index, run in enumerate(runs):
        rows = [r for r in run["decomposition"].get("parts", ()) if r["part"] == part]
        horizons = np.array([row["rounds"] for row in rows], float)
        lower, upper = (
            np.array([row[key] for row in rows], float) * np.sqrt(horizons)
            for key in OVER_ROOT[quantity]
        )
        drawing.line(axes, index, _label(run), horizons, lower, lower, upper)
        axes.lines[-1].set_marker("o")
    axes.set(title=f"{quantity} / √N", xlabel="round N", ylabel="sum / √N")
    drawing.scale_logarithmic(axes, "x")


def _finish_logarithmic(axes):
    drawing.scale_logarithmic(axes, "x")
    if any(np.isfinite(line.get_ydata()).any() for line in axes.lines):
        axes.set(yscale="log")
        _draw_guide(axes)
    elif any(len(line.get_ydata()) for line in axes.lines):
        drawing.write_note(axes, "not positive at any round")


def _draw_guide(axes):
    """Draws √N through the middle of the picture; its height means nothing, its slope does."""
    points = np.concatenate([line.get_xydata() for line in axes.lines])
    points = points[np.isfinite(points).all(axis=1) & (points > 0).all(axis=1)]
    if not len(points):
        return
    ends = np.array([points[:, 0].min(), points[:, 0].max()])
    height = math.exp(np.mean(np.log(points[:, 1]) - np.log(points[:, 0]) / 2))
    axes.plot(
        ends, height * np.sqrt(ends), color=drawing.FAINT, lw=3, zorder=0, label="slope of √N"
    )


def _label(run):
    return run["optimizer"] + (" (diverged)" if run["diverged"] else "")
