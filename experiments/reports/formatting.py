"""Tables on the terminal."""

import textwrap

import rich.console
import rich.table

from experiments.analysis.cells import number


def print_measurements(title, rows):
    """Prints rows (dictionaries) of names and numbers."""
    cells = [
        tuple(value if isinstance(value, str) else number(value, 3) for value in row.values())
        for row in rows
    ]
    print_table(title, tuple(name.replace("_", " ") for name in rows[0]), cells)


def print_table(title, header, rows):
    """Prints a table to the terminal, with all columns but the first aligned to the right."""
    table = rich.table.Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for index, heading in enumerate(header):
        # Headings are wrapped to the width of their cells, so that no number is cut.
        shortest = max([1, *(len(row[index]) for row in rows)])
        heading = textwrap.fill(heading, shortest, break_long_words=False)
        table.add_column(heading, justify="right" if index else "left", no_wrap=bool(index))
    for row in rows:
        table.add_row(*row)
    rich.console.Console().print(table)
