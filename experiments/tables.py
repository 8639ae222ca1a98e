"""The tables of results: the same cells for the terminal and for the report."""

import rich.console
import rich.table

MISSING = "–"


def number(value, digits=4):
    """Returns a number with so many significant digits; a dash where there is none."""
    return MISSING if value is None else f"{value:.{digits}g}"


def slope(growth):
    """Returns a slope with its standard error, such as `0.71 ± 0.02`."""
    if growth["slope"] is None:
        return MISSING
    return f"{growth['slope']:.2f} ± {growth['standard_error']:.2f}"


def name(item):
    """Returns the optimizer of a summary, and whether its run diverged."""
    return item["optimizer"] + (" (diverged)" if item["diverged"] else "")


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
    header = ("optimizer", "regret at W¹", "regret at mean", "linear regret / N")
    return header, [
        (
            name(item),
            number(item["average_taylor_regret"]["initial"]),
            number(item["average_taylor_regret"]["average"]),
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
    metrics = list(dict.fromkeys(metric for item in summaries for metric in item["last_epoch"]))
    header = ("optimizer", "learning rate", "rounds", "seconds", *metrics)
    return header, [
        (
            name(item),
            number(item["learning_rate"]),
            str(item["rounds"]),
            number(item["wall_seconds"], 3),
            *(number(item["last_epoch"].get(metric)) for metric in metrics),
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
    table = rich.table.Table(title=title, title_justify="left")
    for index, heading in enumerate(header):
        # Names may be long and break; half a number would be worse than none.
        shortest = max(len(row[index]) for row in rows) if index else None
        table.add_column(heading, justify="right" if index else "left", min_width=shortest)
    for row in rows:
        table.add_row(*row)
    rich.console.Console().print(table)
