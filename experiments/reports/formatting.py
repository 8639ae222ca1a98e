"""The tables of results: the same cells for the terminal and for the report."""

import math
import textwrap

import rich.console
import rich.table

MISSING = "–"


def number(value, digits=4):
    """Returns a number with so many significant digits; a dash where there is none."""
    return MISSING if value is None or math.isnan(value) else f"{value:.{digits}g}"


def slope(growth):
    """Returns a slope with its standard error, such as `0.71 ± 0.02`."""
    if growth["slope"] is None:
        return MISSING
    return f"{growth['slope']:.2f} ± {growth['standard_error']:.2f}"


def name(item):
    """Returns the optimizer of a summary, and whether its run diverged."""
    return item["optimizer"] + (" (diverged)" if item["diverged"] else "")


def interval(lower, upper, digits=3):
    """Returns an interval, such as `0.777…0.790`; one number where both ends read the same."""
    ends = number(lower, digits), number(upper, digits)
    return ends[0] if ends[0] == ends[1] else "…".join(ends)


def estimate(found, digits=4):
    """Returns a value with its 95 % interval, such as `0.71 (0.65…0.78)`.

    Args:
        found: A dictionary with `value`, `lower` and `upper`.
        digits: Significant digits.
    """
    value, lower, upper = (found[key] for key in ("value", "lower", "upper"))
    if value is None or not math.isfinite(value):
        return MISSING
    if lower is None or not math.isfinite(lower):
        return number(value, digits)
    return f"{number(value, digits)} ({number(lower, digits)}…{number(upper, digits)})"


def rate(found):
    """Returns a rate of regret with its 95 % interval, such as `0.71 (0.65…0.78)`."""
    if found is None or found["slope"] is None:
        return MISSING
    if found["lower"] is None:
        return f"{found['slope']:.2f}"
    return f"{found['slope']:.2f} ({found['lower']:.2f}…{found['upper']:.2f})"


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


def part_table(summaries, kind):
    """Returns header and rows (of strings): the same of each layer or unit.

    Args:
        summaries: Summaries of runs.
        kind: `"layer"` or `"unit"`.
    """
    header = (kind, "optimizer", "R", *SPLIT_HEADER[1 : None if kind == "layer" else -1])
    rows = []
    for part in parts_of(summaries, kind):
        for item in summaries:
            row = item["decomposition"]["parts"].get(part)
            if row is not None:
                cells = _split_cells(item, part)[1 : None if kind == "layer" else -1]
                rows.append((part.partition(":")[2], name(item), number(row["radius"], 3), *cells))
    return header, rows


def parts_of(summaries, kind):
    """Returns the names of all layers or units that were decomposed, in the network's order."""
    names = (part for item in summaries for part in item["decomposition"]["parts"])
    return [part for part in dict.fromkeys(names) if part.startswith(f"{kind}:")]


def _split_cells(item, part):
    row = item["decomposition"]["parts"].get(part)
    if row is None:
        return (number(item["average_loss"]), *[MISSING] * (len(SPLIT_HEADER) - 1))
    return (
        number(row["average_loss"], 3),
        interval(row["optimum_lower"], row["optimum_upper"]),
        interval(row["regret_lower"], row["regret_upper"]),
        number(row["linear_regret"], 3),
        rate(item["decomposition"]["rates"].get(part)),
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
    return (name(item), number(item["average_loss"]), *_part_cells(item["network"]))


def sandwich_table(summaries):
    """Returns header and rows (of strings): what average Taylor regret lies between."""
    header = ("optimizer", "regret at W¹", "regret at mean", "average regret", "linear regret / N")
    return header, [
        (
            name(item),
            number(item["average_taylor_regret"]["initial"]),
            number(item["average_taylor_regret"]["average"]),
            _split_cells(item, "network")[2],
            number(item["network"]["average_linear_regret"]),
        )
        for item in summaries
    ]


def _part_cells(part):
    return (
        number(part["optimum_lower_bound"]),
        number(part["average_linear_regret"]),
        slope(part["growth"]),
        number(part["growth"]["r_squared"], 3),
    )


def run_table(summaries):
    """Returns header and rows (of strings): how each optimizer was run and where it ended."""
    metrics = list(dict.fromkeys(metric for item in summaries for metric in item["means"]))
    metrics = [metric for metric in metrics if not metric.startswith("taylor_")]
    header = ("optimizer", "learning rate", "rounds", "training s", "solving s", *metrics)
    return header, [
        (
            name(item),
            number(item["learning_rate"]),
            str(item["rounds"]),
            number(item["wall_seconds"], 3),
            number(item["solve_seconds"], 3),
            *(number(item["means"].get(metric)) for metric in metrics),
        )
        for item in summaries
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


def print_measurements(title, rows):
    """Prints rows (dictionaries) of names and numbers."""
    cells = [
        tuple(value if isinstance(value, str) else number(value, 3) for value in row.values())
        for row in rows
    ]
    print_table(title, tuple(name.replace("_", " ") for name in rows[0]), cells)


def print_table(title, header, rows):
    """Prints a table to the terminal, numbers to the right."""
    table = rich.table.Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for index, heading in enumerate(header):
        # Headings break to the width of their cells: half a number would be worse than none.
        shortest = max([1, *(len(row[index]) for row in rows)])
        heading = textwrap.fill(heading, shortest, break_long_words=False)
        table.add_column(heading, justify="right" if index else "left", no_wrap=bool(index))
    for row in rows:
        table.add_row(*row)
    rich.console.Console().print(table)
