"""The report of `experiments.taylor_regret`: its tables, pictures and the words around them."""

import functools

from experiments import plots, report, tables

HOW_TO_READ = {
    "average loss": "The mean training loss over the rounds that were tracked. It is the Taylor "
    "optimum (the best loss that the landscape which the run saw had to offer) plus the average "
    "Taylor regret (what the optimizer left on the table).",
    "regret at W¹, at mean": "Average exact Taylor regret against two comparators: the weights "
    "where tracking started, and the running mean of the iterates. The first is a lower bound of "
    "average Taylor regret, which is against the best comparator in reach: that one lies between "
    "it and linear regret / N. The second shows what a comparator that moves along would have "
    "gained. Negative where the run did better.",
    "linear regret / N": "An upper bound of the average Taylor regret, from sums of gradients "
    "alone. Where it is negative, no single point in reach would have done better than the run.",
    "optimum at least": "Average loss minus linear regret / N: a lower bound of the Taylor "
    "optimum, against all points no further from the start than the run travelled, or within the "
    "radius that was set. Below zero it tells nothing about a loss that cannot be negative.",
    "log-log slope": "How fast cumulative linear regret grows with the number of rounds N: 0.5 is "
    "the √N of the guarantee, 1 is regret that does not shrink on average. Unless a radius is "
    "set, the ball grows with the distance travelled, which adds to the slope. Least squares over "
    "log-spaced rounds from 10 on, without values that are not positive; the error says how "
    "straight the line is, not how another seed would turn out.",
}


def sections(runs, summaries, tracked_rounds, configuration, environment):
    """Returns the sections of the report, the most important first."""
    return [
        report.Section(
            "Summary", _notes(summaries), table=report.Table(*tables.network_table(summaries))
        ),
        report.Section(
            "What Taylor regret lies between",
            table=report.Table(*tables.sandwich_table(summaries)),
            pictures=_sandwich_pictures(runs),
        ),
        report.Section("How to read it", terms=HOW_TO_READ),
        report.Section("Network", pictures=_network_pictures(runs, tracked_rounds)),
        report.Section("Layer by layer", pictures=_layer_pictures(runs)),
        report.Section(
            "Layers in numbers", table=report.Table(*tables.layer_table(summaries), text_columns=2)
        ),
        report.Section("Runs", table=report.Table(*tables.run_table(summaries))),
        report.Section(
            "Configuration", names={key: _text(value) for key, value in configuration.items()}
        ),
        report.Section("Versions and machine", names=environment),
    ]


def layers_of(runs):
    """Returns the names of all layers, in the order of the network."""
    return list(dict.fromkeys(layer for run in runs for layer in run["layers"]))


def _network_pictures(runs, tracked_rounds):
    draw_loss = functools.partial(plots.loss_figure, runs, tracked_rounds)
    draw_regret = functools.partial(plots.regret_figure, runs, None)
    return (
        report.picture("Training loss against the round, for each optimizer", draw_loss),
        report.picture(
            "Cumulative linear regret of the network against the round, logarithmic, with a "
            "guide of slope one half",
            draw_regret,
        ),
    )


def _sandwich_pictures(runs):
    return tuple(
        report.picture(
            f"Average regret of {run['optimizer']} against the initial weights, and average linear "
            "regret above it, against the round",
            functools.partial(plots.sandwich_figure, run),
        )
        for run in runs
    )


def _layer_pictures(runs):
    return tuple(
        report.picture(
            f"Cumulative linear regret of layer {layer} against the round, logarithmic",
            functools.partial(plots.regret_figure, runs, layer),
        )
        for layer in layers_of(runs)
    )


def _notes(summaries):
    """Returns a sentence for each run that needs one."""
    return tuple(note for item in summaries for note in _notes_on(item))


def _notes_on(item):
    growth = item["network"]["growth"]
    if item["diverged"]:
        yield (
            f"{item['optimizer']} diverged: its loss was no number any more when it was read at "
            f"round {item['rounds']}, and training stopped there."
        )
    if item["skipped_steps"]:
        yield (
            f"{item['optimizer']}: {item['skipped_steps']} rounds had gradients that are not "
            "finite; they are in none of the sums."
        )
    if growth["share_left_out"]:
        yield (
            f"{item['optimizer']}: linear regret of the network was not positive at "
            f"{growth['share_left_out']:.0%} of the rounds that the slope could use."
        )


def _text(value):
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    return "not set" if value is None else str(value)
