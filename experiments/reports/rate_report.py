"""The tables, pictures and explanations of `experiments.rate_advice`."""

import functools

import numpy as np

from experiments.analysis import cells, rate_summary
from experiments.reports import drawing, report

WAYS = {
    "advised": "advised",
    "default": "default rate",
    "range_steepest": "range test, steepest",
    "range_minimum": "range test, minimum / 10",
}
HOW_TO_READ = {
    "begin": "A rate of the grid. After an eighth of a run at it, `keras_taylor.diagnose` suggests "
    "another; after an eighth at that one perhaps a second.",
    "right way": "Of the begins whose rate is three times the best or a third of it, or farther: "
    "how many were told the direction of the best rate, or that the step fits; in brackets, how "
    "many were told the direction.",
    "wrong beyond 10": "Begins ten times or more from the best rate that were told the other "
    "direction.",
    "loss over best": "The final loss (the mean over the last tenth of the run) over the lowest of "
    "the grid: the median, and the share within 10 %. Below 1: better than the grid.",
}


def advice_table(summary):
    """Returns header and rows: the direction of the advice."""
    header = ("optimizer", "begins", "far off", "right way", "wrong beyond 10")
    return header, [
        (
            name,
            str(found["begins"]),
            str(found["far"]),
            f"{_percent(found['right_or_fits'])} ({_percent(found['right'])})",
            str(found["wrong_when_very_far"]),
        )
        for name, found in summary.items()
    ]


def loss_table(summary):
    """Returns header and rows: final loss over the best of the grid, by how the rate was chosen."""
    header = ("optimizer", "any rate of the grid", *WAYS.values())
    return header, [
        (name, *(_ratio(found[way]) for way in ("before", *WAYS)))
        for name, found in summary.items()
    ]


def _percent(share):
    return cells.MISSING if np.isnan(share) else f"{100 * share:.0f} %"


def _ratio(found):
    median = "∞" if np.isinf(found["median"]) else cells.number(found["median"], 3)
    return f"{median}, {_percent(found['within'])}"


def figures(cases):
    """Returns `{name: draw()}` of all pictures."""
    return {
        "advice": functools.partial(_loss_figure, cases),
        "agreement": functools.partial(_agreement_figure, cases),
    }


def _loss_figure(cases):
    """Draws the median final loss over the best against the first rate, before and after."""
    figure, panels = drawing.subplots(2)
    titles = {"loss_before": "At the first rate", "loss_after": "After the advice"}
    for axes, (key, title) in zip(panels, titles.items(), strict=True):
        _draw(axes, cases, functools.partial(_over_best, key=key))
        axes.set(title=title, ylabel="final loss / best of the grid")
    before, after = panels
    after.sharey(before)
    before.autoscale()
    drawing.finished(figure)
    # One legend, where lines that came down leave room.
    before.get_legend().remove()
    after.legend(frameon=False, labelcolor=drawing.INK, fontsize=8, ncols=2, loc="upper center")
    return figure


def _agreement_figure(cases):
    """Draws the median gradient agreement after an eighth against the first rate."""
    figure, (axes,) = drawing.subplots(1)
    _draw(axes, cases, _agreement)
    axes.set(title="Gradient agreement after an eighth", ylabel="gradient agreement")
    return drawing.finished(figure)


def _draw(axes, cases, value):
    for index, optimizer in enumerate(dict.fromkeys(case["optimizer"] for case in cases)):
        by_ratio = {}
        for case in cases:
            for row in rate_summary.rows(case) if case["optimizer"] == optimizer else ():
                # Rates are rounded, so that ratios of the same half decade differ a little.
                half_decade = round(2 * np.log10(row["over_best_rate"])) / 2
                by_ratio.setdefault(half_decade, []).append(value(row))
        places = sorted(by_ratio)
        values = [_median(by_ratio[place]) for place in places]
        drawing.line(axes, index, optimizer, [10**place for place in places], values)
        axes.lines[-1].set_marker("o")
    axes.set(xlabel="first rate / best rate", xscale="log")
    drawing.scale_logarithmic(axes)


def _median(values):
    finite = [value for value in values if np.isfinite(value)]
    return float(np.median(finite)) if finite else np.nan


def _agreement(row):
    found = row["gradient_agreement"]
    return np.nan if found is None else found


def _over_best(row, key):
    return np.nan if row[key] is None else row[key] / row["best_loss"]


def sections(cases, summary):
    """Returns the sections of the report, the most important first."""
    pictures = report.pictures(figures(cases), "{}, by optimizer".format)
    return [
        report.Section(
            "Final loss over the best of the grid: median, and share within 10 %",
            table=report.Table(*loss_table(summary)),
            pictures=pictures,
        ),
        report.Section(
            "Does the advice point the right way?", table=report.Table(*advice_table(summary))
        ),
        report.Section("How to read it", terms=HOW_TO_READ),
    ]
