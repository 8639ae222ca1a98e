"""The tables of `experiments.taylor_regret`, as strings for the terminal and for the report."""

import collections
import itertools

from experiments.analysis import cells


def name(item):
    """Returns the optimizer of a summary, and whether its run diverged."""
    return item["optimizer"] + (" (diverged)" if item["diverged"] else "")


# Verdicts of `keras_taylor.diagnose` that are about one layer.
OF_LAYERS = ("lags", "still", "diverged")
SPLIT_HEADER = (
    "average loss",
    "Taylor optimum",
    "average regret",
    "linear regret / N",
    "log-log slope",
)


def decomposition_table(summaries):
    """Returns header and rows (of strings): loss = optimum + regret of the network."""
    header = ("optimizer", *SPLIT_HEADER)
    return header, [(name(item), *_split_cells(item, "network")) for item in summaries]


def split_layer_table(summaries):
    """Returns header and rows (of strings): the same of each layer, with its radius."""
    header = ("layer", "optimizer", "R", *SPLIT_HEADER[1:])
    rows = [
        (*_begin(item, item["decomposition"]["parts"][part]), *_split_cells(item, part)[1:])
        for part in layers_of(summaries)
        for item in summaries
        if part in item["decomposition"]["parts"]
    ]
    return header, rows


def unit_table(runs):
    """Returns header and rows (of strings): the same of units, which have no rate.

    Of a layer that has many, those of least, middle and greatest regret in each run.
    """
    header = ("unit", "optimizer", "R", *SPLIT_HEADER[1:-1])
    by_layer = collections.defaultdict(list)
    for run in runs:
        of_run = collections.defaultdict(list)
        for row in run["decomposition"].get("units", ()):
            of_run[row["part"].rpartition("/")[0]].append(row)
        for layer, rows in of_run.items():
            by_layer[layer] += [_unit_cells(run, row) for row in _telling(rows)]
    return header, list(itertools.chain(*by_layer.values()))


def _telling(rows):
    rows = sorted(rows, key=lambda row: row["average_regret_upper"])
    return rows if len(rows) <= 3 else [rows[0], rows[len(rows) // 2], rows[-1]]


def _unit_cells(run, row):
    linear = cells.number(row["average_linear_regret"], 3)
    return (*_begin(run, row), *_intervals(row), linear)


def layers_of(summaries):
    """Returns the names of all layers that were decomposed, in the network's order."""
    return [part for part in parts_of(summaries) if part.startswith("layer:")]


def parts_of(summaries):
    """Returns the names of all parts that were decomposed, in their order."""
    names = (part for item in summaries for part in item["decomposition"]["parts"])
    return list(dict.fromkeys(names))


def _begin(item, row):
    return row["part"].partition(":")[2], name(item), cells.number(row["radius"], 3)


def _intervals(row):
    return (
        cells.interval(row["optimum_lower"], row["optimum_upper"]),
        cells.interval(row["average_regret_lower"], row["average_regret_upper"]),
    )


def _split_cells(item, part):
    row = item["decomposition"]["parts"].get(part)
    if row is None:
        return (cells.number(item["average_loss"]), *[cells.MISSING] * (len(SPLIT_HEADER) - 1))
    return (
        cells.number(row["average_loss"], 3),
        *_intervals(row),
        cells.number(_average_linear_regret(item, part), 3),
        cells.rate(item["decomposition"]["rates"].get(part)),
    )


def _average_linear_regret(item, part):
    """Returns that of network and layers as it was read in training, which all rounds are in."""
    key = part.removeprefix("layer:")
    return (item["network"] if part == "network" else item["layers"][key])["average_linear_regret"]


def advice_table(summaries):
    """Returns header and rows (of strings): what `keras_taylor.diagnose` says of each network."""
    header = ("optimizer", "advice", "learning rate", "suggested rate")
    return header, [
        (
            name(item),
            item["diagnosis"][0]["advice"],
            cells.number(item["learning_rate"], 3),
            cells.number(item["diagnosis"][0]["suggested_rate"], 2),
        )
        for item in summaries
        # Results of earlier versions have none.
        if item.get("diagnosis")
    ]


def layer_advice(summaries):
    """Returns a sentence for each layer whose steps are not like those of its network."""
    return tuple(
        f"{name(item)}, {row['part'].replace(':', ' ')}: {row['advice']}."
        for item in summaries
        for row in item.get("diagnosis", [])[1:]
        if row["verdict"] in OF_LAYERS
    )


def step_table(summaries):
    """Returns header and rows (of strings): whether the steps of network and layers fit."""
    header = ("optimizer", "part", "linear regret", "guarantee", "over guarantee", "step ratio")
    return header, [
        (name(item), part, *_step_cells(found))
        for item in summaries
        for part, found in {"network": item["network"], **item["layers"]}.items()
    ]


def network_step_table(summaries):
    """Returns header and rows (of strings): the same of the network alone."""
    header, rows = step_table(summaries)
    kept = [row for row in rows if row[1] == "network"]
    return (header[0], *header[2:]), [(row[0], *row[2:]) for row in kept]


def _step_cells(part):
    names = ("linear_regret", "guarantee", "relative_regret", "step_ratio")
    digits = (3, 3, 2, 2)
    return tuple(
        cells.number(part.get(key), count) for key, count in zip(names, digits, strict=True)
    )


def network_table(summaries):
    """Returns header and rows (of strings): one row for each optimizer."""
    header = (
        "optimizer",
        "average loss",
        "optimum at least",
        "linear regret / N",
        "log-log slope",
        "R²",
    )
    return header, [_network_row(item) for item in summaries]


def _network_row(item):
    return (name(item), cells.number(item["average_loss"]), *_part_cells(item["network"]))


def sandwich_table(summaries):
    """Returns header and rows (of strings): the bounds of average Taylor regret."""
    header = ("optimizer", "regret at W¹", "regret at mean", "average regret", "linear regret / N")
    return header, [
        (
            name(item),
            cells.number(item["average_taylor_regret"].get("initial")),
            cells.number(item["average_taylor_regret"].get("average")),
            _split_cells(item, "network")[2],
            cells.number(item["network"]["average_linear_regret"]),
        )
        for item in summaries
    ]


def _part_cells(part):
    return (
        cells.number(part["optimum_lower_bound"]),
        cells.number(part["average_linear_regret"]),
        cells.slope(part["growth"]),
        cells.number(part["growth"]["r_squared"], 3),
    )


def run_table(summaries):
    """Returns header and rows (of strings): how each optimizer was run and where it ended."""
    metrics = list(dict.fromkeys(metric for item in summaries for metric in item["means"]))
    metrics = [metric for metric in metrics if not metric.startswith("taylor_")]
    # Runs from before they were kept have none.
    finals = [item.get("final_means", {}) for item in summaries]
    has_final = [metric for found in finals for metric in found]
    final = [metric for metric in metrics if metric in has_final]
    header = ("optimizer", "learning rate", "rounds", "training s", "solving s", *metrics)
    header += tuple(f"final {metric}" for metric in final)
    return header, [
        (
            name(item),
            cells.number(item["learning_rate"]),
            str(item["rounds"]),
            cells.number(item["wall_seconds"], 3),
            cells.number(item["solve_seconds"], 3),
            *(cells.number(item["means"].get(metric)) for metric in metrics),
            *(cells.number(found.get(metric)) for metric in final),
        )
        for item, found in zip(summaries, finals, strict=True)
    ]


def layer_table(summaries):
    """Returns header and rows (of strings): one row for each layer and optimizer."""
    header = ("layer", "optimizer", "optimum at least", "linear regret / N", "log-log slope", "R²")
    layers = list(dict.fromkeys(layer for item in summaries for layer in item["layers"]))
    return header, [
        (layer, name(item), *_part_cells(item["layers"][layer]))
        for layer in layers
        for item in summaries
        if layer in item["layers"]
    ]
