"""The tables, pictures and words of `experiments.optimizer_comparison`."""

import functools

import numpy as np

from experiments.analysis import estimates
from experiments.reports import bands, drawing, formatting, report

COLUMNS = (
    "task",
    "optimizer",
    "learning_rate",
    "seed",
    "steps",
    "diverged",
    "final_loss",
    "accuracy",
    "seconds",
)
HOW_TO_READ = {
    "final loss": "The mean training loss over the last tenth of a run; in brackets its 95 % "
    "interval over seeds, by Student's t.",
    "best rate": "The learning rate with the lowest final loss at the first seed. The grid goes on "
    "some steps beyond an end that is best; where it still is an end, a better may lie beyond.",
    "within 10 %": "How many rates of the grid end within 10 % of the best one's final loss: how "
    "little the rate matters.",
}


def row(run):
    """Returns a run as a row of the CSV file."""
    return {name: run.get(name) for name in COLUMNS if name != "accuracy"} | {
        "accuracy": run["metrics"].get("accuracy")
    }


def summarize(grid, again):
    """Returns for each optimizer its best rate, and its final loss and accuracy over seeds."""
    summary = {}
    for optimizer in dict.fromkeys(run["optimizer"] for run in grid):
        tried = [run for run in grid if run["optimizer"] == optimizer]
        best = [run for run in again if run["optimizer"] == optimizer]
        losses = [run["final_loss"] for run in tried if run["final_loss"] is not None]
        rate = best[0]["learning_rate"] if best else None
        summary[optimizer] = {
            "best_rate": rate,
            "is_at_end": rate in (tried[0]["learning_rate"], tried[-1]["learning_rate"]),
            "rates": len(tried),
            "diverged": sum(run["diverged"] for run in tried),
            "within_ten_percent": sum(loss <= 1.1 * min(losses) for loss in losses),
            "final_loss": vars(estimates.mean([run["final_loss"] for run in best])),
            "accuracy": vars(estimates.mean([run["metrics"].get("accuracy") for run in best])),
            "by_seed": [run["final_loss"] for run in best],
        }
    return summary


def best_table(summary):
    """Returns header and rows: each optimizer at its best rate."""
    has_accuracy = any(
        formatting.number(s["accuracy"]["value"]) != formatting.MISSING for s in summary.values()
    )
    header = ("optimizer", "best rate", "final loss", "within 10 %", "diverged")
    header += ("accuracy",) if has_accuracy else ()
    return header, [
        (
            optimizer,
            formatting.number(s["best_rate"], 3) + (" (end)" if s["is_at_end"] else ""),
            formatting.estimate(s["final_loss"], 2),
            f"{s['within_ten_percent']} of {s['rates']}",
            f"{s['diverged']} of {s['rates']}",
            *([formatting.number(s["accuracy"]["value"], 3)] if has_accuracy else []),
        )
        for optimizer, s in summary.items()
    ]


def grid_table(grid):
    """Returns header and rows: the final loss at each rate."""
    header = ("optimizer", "learning rate", "final loss")
    return header, [
        (
            run["optimizer"],
            formatting.number(run["learning_rate"], 3),
            "diverged" if run["diverged"] else formatting.number(run["final_loss"]),
        )
        for run in grid
    ]


def figures(grid, again):
    """Returns `{name: draw()}` of all pictures."""
    return {
        "loss": functools.partial(
            bands.curves_figure,
            again,
            "loss_rounds",
            lambda run: run["losses"],
            "Training loss at the best rate",
            "loss",
            log=True,
        ),
        "sensitivity": functools.partial(sensitivity_figure, grid),
    }


def sensitivity_figure(grid):
    """Final loss against the learning rate, a line for each optimizer; gaps where it diverged."""
    figure, (axes,) = drawing.subplots(1)
    for index, optimizer in enumerate(dict.fromkeys(run["optimizer"] for run in grid)):
        tried = [run for run in grid if run["optimizer"] == optimizer]
        losses = [np.nan if run["final_loss"] is None else run["final_loss"] for run in tried]
        rates = [run["learning_rate"] for run in tried]
        drawing.line(axes, index, optimizer, rates, losses)
        axes.lines[-1].set_marker("o")
    axes.set(title="Final loss by learning rate", xlabel="learning rate", ylabel="final loss")
    axes.set(xscale="log")
    drawing.scale_logarithmic(axes)
    return drawing.finished(figure)


def sections(grid, again, summary):
    """Returns the sections of the report, the most important first."""
    pictures = tuple(
        report.picture(f"{name}, by optimizer", draw) for name, draw in figures(grid, again).items()
    )
    return [
        report.Section(
            "Tuned optimizers", table=report.Table(*best_table(summary)), pictures=pictures
        ),
        report.Section("How to read it", terms=HOW_TO_READ),
        report.Section("All rates", table=report.Table(*grid_table(grid))),
    ]
