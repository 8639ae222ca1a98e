"""The numbers that a figure shows, remembered so that a report can offer them as CSV."""

import base64
import io
import weakref

import numpy as np

from experiments.runs import results

COLUMNS = ("panel", "series", "x", "x_lower", "x_upper", "y", "y_lower", "y_upper")
_kept = weakref.WeakKeyDictionary()


def add(axes, series, x, y, **intervals):
    """Remembers what is drawn into a panel.

    Args:
        axes: The panel.
        series: Name of the line or the kind of bar.
        x: Places, a list.
        y: Values, a list of the same length.
        **intervals: Ends of intervals by their names in `COLUMNS`, lists of the same length.
    """
    columns = {
        name: results.jsonable(np.asarray(values))
        for name, values in {"x": x, "y": y, **intervals}.items()
        if values is not None
    }
    _kept.setdefault(axes, []).extend(
        {"series": series} | dict(zip(columns, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    )


def rows(drawing):
    """Returns the points of a figure, each a dictionary with keys of `COLUMNS`."""
    return [
        {"panel": axes.get_title()} | row for axes in drawing.axes for row in _kept.get(axes, ())
    ]


def csv_uri(drawing):
    """Returns the points of a figure as CSV in a data URI, without empty columns."""
    found = rows(drawing)
    columns = [name for name in COLUMNS if any(row.get(name) is not None for row in found)]
    text = io.StringIO()
    results.put_csv(text, columns, ({name: row.get(name) for name in columns} for row in found))
    encoded = base64.b64encode(text.getvalue().encode("utf-8")).decode("ascii")
    return f"data:text/csv;charset=utf-8;base64,{encoded}"
