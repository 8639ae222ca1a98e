"""The tables, pictures and explanations of `experiments.exploration`."""

import dataclasses
import functools

import numpy as np

from experiments.analysis import cells, estimates
from experiments.analysis.exploration_summary import ENDS, MEASURES
from experiments.reports import drawing, plot_data, report

HOW_TO_READ = {
    "switches a rectifier": "How often a rectifier or pooling window switches between snapshots "
    "over the whole run: the mean over these and over the examples of the probe.",
    "distance between snapshots, to the nearest": "The share of all bits that differ from the "
    "previous snapshot, and from the nearest of all earlier ones: means over the run. The second "
    "is small for a run that returns to earlier configurations.",
    "configurations": "The number of different activation configurations of single examples in all "
    "snapshots.",
    "dead units": "The share of rectifier units that are off for the whole probe at the end.",
    "signal-to-noise": "The median over all weights of |mean g| / sqrt(mean g²) over all rounds.",
    "Taylor optimum, average regret": "Of the network in the recorded rounds; average loss is "
    "their sum. The optimum is given by the upper end of its interval; the lower one is beside it.",
    "rank correlation": "Spearman's correlation over the optimizers' means: -1 where more "
    "exploration always goes with a lower outcome. In brackets: its 95 % interval by bootstrap "
    "over seeds, which says what other seeds may give for these optimizers, not what other "
    "optimizers would give. p: the probability of a correlation as strong when optimizers are "
    "paired by chance. A claim holds only if the interval is on one side of zero and p is at most "
    "0.05; five optimizers reach this p with the strictest order only. The ranks of the optima are "
    "those of the upper ends, and are not known where intervals of two optimizers overlap.",
}


def measure_table(summary):
    """Returns header and rows: how much each optimizer explored."""
    return _table(summary, MEASURES)


def end_table(summary):
    """Returns header and rows: where each optimizer ended."""
    return _table(summary, ENDS)


def claim_table(summary):
    """Returns header and rows: whether more exploration went with lower optimum and loss."""
    header = ("a lower", "measure of exploration", "rank correlation", "p", "verdict")
    return header, [
        (
            row["outcome"],
            row["measure"],
            cells.estimate(row, 2),
            cells.number(row["p_value"], 2),
            row["verdict"] + ("" if row["is_ranked"] else ": intervals overlap"),
        )
        for row in summary["claims"]
    ]


def normalization_table(summary):
    """Returns header and rows: what RMS normalisation of SGD changes."""
    header = ("quantity", "RMS-normalised SGD less plain SGD")
    return header, [
        (name, cells.estimate(found, 3)) for name, found in summary["normalization"].items()
    ]


def means_table(summary):
    """Returns header and rows, quantities down and optimizers across: means without intervals."""
    header = ("mean over seeds", *map(_name, summary["optimizers"].items()))
    return header, [
        (
            name,
            *(cells.number(row[name]["value"], 3) for row in summary["optimizers"].values()),
        )
        for name in MEASURES | ENDS
    ]


def _table(summary, quantities):
    header = ("optimizer", *quantities)
    return header, [
        (_name((optimizer, row)), *(cells.estimate(row[name], 3) for name in quantities))
        for optimizer, row in summary["optimizers"].items()
    ]


def _name(item):
    optimizer, row = item
    failed = f" ({row['diverged']} of {row['runs']} diverged)" if row["diverged"] else ""
    return optimizer.replace("_", " ") + failed


def figures(runs, summary):
    """Returns `{name: draw()}` of all pictures."""
    curves = functools.partial(drawing.curves_figure, runs)
    return {
        "loss": functools.partial(
            curves, "loss_rounds", lambda run: run["losses"], "Training loss", "loss", log=True
        ),
        "switches": functools.partial(
            curves,
            "steps",
            lambda run: run["measures"]["switches_per_unit"],
            "Switches a rectifier so far",
            "switches",
        ),
        "nearest": functools.partial(
            curves,
            "steps",
            lambda run: run["measures"]["nearest_hamming"],
            "Distance to the nearest earlier snapshot",
            "share of bits",
            log=True,
        ),
        "optimum_and_switches": functools.partial(
            scatter_figure,
            summary["optimizers"],
            "switches a rectifier",
            "Taylor optimum",
            "optimum at least",
        ),
    }


def sections(runs, summary):
    """Returns the sections of the report, the most important first."""
    pictures = report.pictures(
        figures(runs, summary),
        lambda name: name.replace("_", " ") + ", by optimizer, with 95 % intervals over seeds",
    )
    effect = ()
    if summary["normalization"]:
        effect = (
            report.Section(
                "What RMS normalisation changes",
                table=report.Table(*normalization_table(summary)),
            ),
        )
    return [
        report.Section(
            "Does more exploration go with a lower optimum and loss?",
            notes(runs),
            table=report.Table(*claim_table(summary), text_columns=2),
            pictures=pictures,
        ),
        report.Section(
            "How much each optimizer explored", table=report.Table(*measure_table(summary))
        ),
        report.Section("Where it ended", table=report.Table(*end_table(summary))),
        *effect,
        report.Section("How to read it", terms=HOW_TO_READ),
    ]


def notes(runs):
    """Returns sentences about the runs that have no optimum."""
    reasons = {
        True: "diverged and has no optimum.",
        False: "has no optimum: its weights did not move in the recorded rounds (one is too few).",
    }
    return tuple(
        f"{run['optimizer']}, seed {run['seed']}, {reasons[run['diverged']]}"
        for run in runs
        if not run["optimum"]
    )


def scatter_figure(summaries, x, y, y_least=None):
    """Draws two quantities of each optimizer against each other, with their 95 % intervals.

    Args:
        summaries: `{optimizer: {quantity: {value, lower, upper}}}`.
        x: The quantity along the first axis.
        y: The other one.
        y_least: Where `y` is the upper end of what is known, the quantity that is the lower one.
    """
    figure, (axes,) = drawing.subplots(1)
    for index, (optimizer, row) in enumerate(summaries.items()):
        across, up = estimates.from_json(row[x]), estimates.from_json(row[y])
        if y_least is not None:
            up = dataclasses.replace(up, lower=estimates.from_json(row[y_least]).lower)
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
        plot_data.add(axes, optimizer, [across.value], [up.value], **ends)
    axes.set(title=f"{y} against {x}", xlabel=x, ylabel=y)
    return drawing.finished(figure)


def _reach(estimate):
    ends = [estimate.value - estimate.lower, estimate.upper - estimate.value]
    return np.nan_to_num(np.abs(np.asarray(ends, float)))[:, None]
