"""The tables, pictures and explanations of `experiments.optimizer_comparison`."""

import functools

import numpy as np

from experiments.analysis import cells
from experiments.reports import drawing, report

HOW_TO_READ = {
    "final loss": "The mean training loss over the last tenth of a run. In brackets: its 95 % "
    "interval over seeds, by Student's t.",
    "best rate": "The learning rate with the lowest final loss at the first seed. Where an end of "
    "the grid is best, some further rates are tried beyond it. (end): the best rate is still an "
    "end of the grid, so a better one may lie beyond.",
    "within 10 %": "How many rates of the grid have a final loss within 10 % of the lowest. The "
    "more, the less the rate matters.",
}


def best_table(summary):
    """Returns header and rows: each optimizer at its best rate."""
    has_accuracy = any(
        cells.number(s["accuracy"]["value"]) != cells.MISSING for s in summary.values()
    )
    header = ("optimizer", "best rate", "final loss", "within 10 %", "diverged")
    header += ("accuracy",) if has_accuracy else ()
    return header, [
        (
            optimizer,
            cells.number(s["best_rate"], 3) + (" (end)" if s["is_at_end"] else ""),
            cells.estimate(s["final_loss"], 2),
            f"{s['within_ten_percent']} of {s['rates']}",
            f"{s['diverged']} of {s['rates']}",
            *([cells.number(s["accuracy"]["value"], 3)] if has_accuracy else []),
        )
        for optimizer, s in summary.items()
    ]


def grid_table(grid):
    """Returns header and rows: the final loss at each rate."""
    header = ("optimizer", "learning rate", "final loss")
    return header, [
        (
            run["optimizer"],
            cells.number(run["learning_rate"], 3),
            "diverged" if run["diverged"] else cells.number(run["final_loss"]),
        )
        for run in grid
    ]


def figures(grid, again):
    """Returns `{name: draw()}` of all pictures."""
    return {
        "loss": functools.partial(
            drawing.curves_figure,
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
    """Draws final loss against learning rate for each optimizer, with gaps where it diverged."""
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
    pictures = report.pictures(figures(grid, again), "{}, by optimizer".format)
    return [
        report.Section(
            "Tuned optimizers", table=report.Table(*best_table(summary)), pictures=pictures
        ),
        report.Section("How to read it", terms=HOW_TO_READ),
        report.Section("All rates", table=report.Table(*grid_table(grid))),
    ]
