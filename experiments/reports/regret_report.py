"""The report of `experiments.taylor_regret`: its sections and their explanations."""

import functools

from experiments.reports import regret_figures, regret_tables, report

HOW_TO_READ = {
    "average loss": "The mean training loss over the recorded rounds. It is the Taylor optimum "
    "plus the average Taylor regret.",
    "Taylor optimum": "The lowest average Taylor loss of the recorded rounds that one fixed "
    "comparator reaches. Comparators are no further from the first weights than the run travelled, "
    "or within the radius that was set. The optimum is proved to lie in the interval. High: the "
    "run saw no good weights; explore more (optimizer, initialisation, architecture).",
    "average regret": "Average loss minus Taylor optimum: the loss that the optimizer could have "
    "avoided. It is an interval because the optimum is one. High: tune the learning rate or the "
    "momentum. Negative: the run did better than every fixed comparator in reach.",
    "log-log slope": "How fast cumulative regret grows with the number of rounds N: the guarantee "
    "is √N, a slope of 0.5; with a slope of 1, average regret does not shrink. Fitted over "
    "log-spaced N, without those where regret is not positive. In brackets: its 95 % interval by "
    "bootstrap over blocks of rounds. R is fixed at the distance that the whole recording "
    "travelled; in the pictures R grows with N, which adds to the slope. In the tables of linear "
    "regret, the slope is that of linear regret, and the error says how straight the line is.",
    "regret at W¹, at mean": "Average exact Taylor regret against two comparators: the weights "
    "where tracking started, and the running mean of the iterates. The first is a lower bound of "
    "average Taylor regret, which is against the best comparator in reach; linear regret / N is an "
    "upper bound. The second shows what a comparator that moves with the run would have gained. "
    "Negative where the run did better.",
    "linear regret / N": "An upper bound of the average Taylor regret, computed during training "
    "from sums of gradients.",
    "over guarantee": "Linear regret over the guarantee R √(Σ ‖g‖²), which grows like √N: about 1 "
    "for a well tuned SGD, far above 1 for a badly tuned rate, below 1 better than is guaranteed. "
    "Read during training. A theorem for plain SGD with a step tuned to N, otherwise a yardstick.",
    "step ratio": "The distance travelled over the root of the summed squared steps, without "
    "momentum's part. About 1 to 2: the step fits. Far above: steps agree with each other and a "
    "higher learning rate would have paid. Below 1: they undo each other, lower it.",
    "over √N": "Sums over rounds, divided by √N: regret that grows like √N is flat, while optimum "
    "and loss, whose averages settle, rise like √N.",
    "final": "The mean over the last tenth of the rounds; columns without it are over all.",
    "optimum at least": "Average loss minus linear regret / N, a lower bound of the Taylor "
    "optimum. Below zero it says nothing about a loss that cannot be negative.",
}
MANY_UNITS = "Of a layer with many units: those of least, middle and greatest regret in each run."


def sections(runs, summaries, tracked_rounds):
    """Returns the sections of the report, the most important first."""
    return [
        *_advice(summaries),
        report.Section(
            "Loss = Taylor optimum + regret",
            notes(summaries),
            table=report.Table(*regret_tables.decomposition_table(summaries)),
            pictures=_split_pictures(runs, summaries, "network", "decomposition", "regret"),
        ),
        report.Section(
            "Do the steps fit?",
            table=report.Table(*regret_tables.step_table(summaries), text_columns=2),
        ),
        report.Section("How to read it", terms=HOW_TO_READ),
        report.Section(
            "Layer by layer",
            table=report.Table(*regret_tables.split_layer_table(summaries), text_columns=2),
            pictures=tuple(
                picture
                for part in regret_tables.layers_of(summaries)
                for picture in _split_pictures(runs, summaries, part)
            ),
        ),
        *_unit_sections(runs),
        report.Section(
            "Bounds of Taylor regret",
            table=report.Table(*regret_tables.sandwich_table(summaries)),
            pictures=_sandwich_pictures(runs),
        ),
        report.Section(
            "Linear regret of the network",
            table=report.Table(*regret_tables.network_table(summaries)),
            pictures=_network_pictures(runs, summaries, tracked_rounds),
        ),
        report.Section("Linear regret of the layers", pictures=_layer_pictures(runs)),
        report.Section(
            "Linear regret of the layers in numbers",
            table=report.Table(*regret_tables.layer_table(summaries), text_columns=2),
        ),
        report.Section("Runs", table=report.Table(*regret_tables.run_table(summaries))),
    ]


def _advice(summaries):
    header, rows = regret_tables.advice_table(summaries)
    if not rows:
        return []
    table, notes = report.Table(header, rows, 2), regret_tables.layer_advice(summaries)
    return [report.Section("What the runs say about their learning rates", notes, table=table)]


def layers_of(runs):
    """Returns the names of all layers, in the order of the network."""
    return list(dict.fromkeys(layer for run in runs for layer in run["layers"]))


def _split_pictures(runs, summaries, part, split_file=None, growth_file=None):
    if part not in regret_tables.parts_of(summaries):
        return ()
    name = "the network" if part == "network" else part.replace(":", " ")
    return (
        report.picture(
            f"Average loss of each optimizer as Taylor optimum and average regret of {name}",
            functools.partial(regret_figures.decomposition_figure, summaries, part),
            split_file,
        ),
        report.picture(
            f"Cumulative regret of {name} against the round, logarithmic, with its interval, "
            "linear regret dotted, and a guide of slope one half",
            functools.partial(regret_figures.growth_figure, runs, part),
            growth_file,
        ),
    )


def _network_pictures(runs, summaries, tracked_rounds):
    over_root = ()
    if "network" in regret_tables.parts_of(summaries):
        over_root = (
            report.picture(
                "Cumulative regret, Taylor optimum and loss of the network over the square root "
                "of N",
                functools.partial(regret_figures.root_figure, runs),
                "over_root",
            ),
        )
    return (
        report.picture(
            "Training loss against the round, for each optimizer",
            functools.partial(regret_figures.loss_figure, runs, tracked_rounds),
            "loss",
        ),
        report.picture(
            "Cumulative linear regret of the network against the round, logarithmic, with its "
            "guarantee dotted and a guide of slope one half",
            functools.partial(regret_figures.regret_figure, runs, None),
            "linear_regret",
        ),
        *over_root,
    )


def _sandwich_pictures(runs):
    return tuple(
        report.picture(
            f"Average regret of {run['optimizer']} against the initial weights, and average linear "
            "regret above it, against the round",
            functools.partial(regret_figures.sandwich_figure, run),
        )
        for run in runs
        if "initial" in run["average_taylor_loss"]
    )


def _layer_pictures(runs):
    layers = layers_of(runs)
    if not layers:
        return ()
    return (
        report.picture(
            "Cumulative linear regret of each layer against the round, logarithmic, with its "
            "guarantee dotted",
            functools.partial(regret_figures.layers_figure, runs, layers),
            "layers",
        ),
    )


def notes(summaries):
    """Returns sentences about runs with wide intervals or none, divergence, rounds left out."""
    return tuple(note for item in summaries for note in _notes_on(item))


def _notes_on(item):
    growth = item["decomposition"]["rates"].get("network")
    wide = [part for part, row in item["decomposition"]["parts"].items() if not row["converged"]]
    units = item["decomposition"]["units"]
    wide += [f"{units['wide']} of {units['solved']} units"] if units["wide"] else []
    if wide:
        yield (
            f"{item['optimizer']}: the interval of {', '.join(wide)} is wider than the tolerance."
        )
    if item["diverged"]:
        place = f"at round {item['rounds']}" if item["rounds"] else "during the burn-in"
        yield (
            f"{item['optimizer']} diverged: {place} its loss was not finite, and training stopped."
        )
    elif not item["decomposition"]["parts"]:
        yield (
            f"{item['optimizer']} has no decomposition: it takes at least two rounds, since the "
            "weights of one are their only comparator."
        )
    if item["skipped_steps"]:
        yield (
            f"{item['optimizer']}: the gradients of {item['skipped_steps']} rounds were not "
            "finite; the sums leave these rounds out."
        )
    if growth and growth["share_left_out"]:
        yield (
            f"{item['optimizer']}: regret of the network was not positive at "
            f"{growth['share_left_out']:.0%} of the horizons; the slope leaves these out."
        )


def _unit_sections(runs):
    header, rows = regret_tables.unit_table(runs)
    if not rows:
        return []
    return [report.Section("Some units", (MANY_UNITS,), table=report.Table(header, rows, 2))]
