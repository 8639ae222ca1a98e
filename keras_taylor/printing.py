"""How results print: a few lines that a person reads, in a terminal and in a notebook."""

import html


class Printed:
    """Base of results whose `__str__` is a few lines of text."""

    def __repr__(self):
        return str(self)

    def _repr_html_(self):
        return f"<pre>{html.escape(str(self))}</pre>"


def interval_text(lower, upper):
    """Returns an interval to four digits.

    >>> interval_text(1.23456, 2.0)
    '1.235 to 2'
    """
    return f"{lower:.4g} to {upper:.4g}"
