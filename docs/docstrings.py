"""A Griffe extension: examples in docstrings become blocks of code.

Examples are paragraphs that begin with `>>>`, which Markdown takes for quotations.
"""

import re

import griffe

EXAMPLE = re.compile(r"^([ \t]*)>>> .*(?:\n[ \t]*\S.*)*", re.MULTILINE)


def fenced(text):
    """Returns a docstring in which each example is a fenced block."""
    return EXAMPLE.sub(lambda match: f"{match[1]}```pycon\n{match[0]}\n{match[1]}```", text)


class FencedExamples(griffe.Extension):
    """Changes the docstrings before they are parsed."""

    def on_object(self, *, obj, loader, **others):
        """Changes the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
