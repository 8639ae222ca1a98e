r"""Runs the examples of a page in Markdown and holds what they print against what it shows.

A block that begins with ```python is run, in the order of the page and in one namespace; a plain
block right behind it shows what it prints. Blocks with other words behind the fence are not run.

    python tests/documents.py README.md docs/index.md

writes what the blocks of these pages print now where they show it.
"""

import contextlib
import io
import pathlib
import re
import sys
import tempfile

BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n^```\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"(?<![\w.])([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?!\w)")
TIME = re.compile(r"\b[\d.]+(us|ms|s)(/(step|epoch))?(?!\w)")
# Machines differ in the last bit of a product, which training carries on.
RELATIVE, ABSOLUTE = 0.03, 0.005


def blocks(text):
    """Returns `(code, shown, line)` for each block that is run; shown is "" where nothing is."""
    return [
        (match[1], match[2] or "", text[: match.start(1)].count("\n") + 1)
        for match in BLOCK.finditer(text)
    ]


def outputs(path, read_output):
    """Runs the blocks of a page and yields `(shown, printed, line)` for each.

    Args:
        path: The page.
        read_output: Function that returns what was printed since its last call.
    """
    namespace = {"__name__": "__main__"}
    for code, shown, line in blocks(path.read_text(encoding="utf-8")):
        # Empty lines before the code give errors the line numbers of the page.
        exec(compile("\n" * (line - 1) + code, str(path), "exec"), namespace)
        yield shown, read_output(), line


def run(path, read_output):
    """Runs the blocks of a page and holds what they print against what the page shows."""
    for shown, printed, line in outputs(path, read_output):
        check(shown, printed, f"{path.name}, the block at line {line}")


def check(shown, printed, where="the block"):
    """Fails unless both have the same words, and numbers that are nearly the same."""
    expected, found = map(_tokens, (shown, printed))
    same = len(expected) == len(found) and all(map(_alike, expected, found))
    assert same, f"{where} shows\n{shown}\nand prints\n{printed}"


def _tokens(text):
    """Returns words and numbers in turn, without times, rules and spaces."""
    text = re.sub(r"[-─━]{4,}", "", TIME.sub("", text.replace("−", "-")))
    return [" ".join(token.split()) for token in NUMBER.split(text)]


def _alike(expected, found):
    if not NUMBER.fullmatch(expected) or not NUMBER.fullmatch(found):
        return expected == found
    expected, found = float(expected), float(found)
    return abs(found - expected) <= ABSOLUTE + RELATIVE * abs(expected)


def written(path, read_output):
    """Returns the text of a page with the outputs that its blocks print now."""
    printed = iter([printed for _, printed, _ in outputs(path, read_output)])

    def renew(match):
        output = next(printed).rstrip()
        shown = "" if match[2] is None else f"\n```\n{output}\n```\n"
        return f"```python\n{match[1]}```\n{shown}"

    return BLOCK.sub(renew, path.read_text(encoding="utf-8"))


def main(paths):
    """Writes pages with the outputs of now."""
    for path in (pathlib.Path(path).resolve() for path in paths):
        stdout = io.StringIO()

        def read_output(stdout=stdout):
            text = stdout.getvalue()
            stdout.seek(0)
            stdout.truncate()
            return text

        with (
            tempfile.TemporaryDirectory() as directory,
            contextlib.chdir(directory),
            contextlib.redirect_stdout(stdout),
        ):
            text = written(path, read_output)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
