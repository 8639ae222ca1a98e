"""The example of the README runs and prints what the README shows."""

import pathlib
import re

README = pathlib.Path(__file__).parents[1] / "README.md"


def _blocks():
    """Returns the Python example and the block after it, which shows its output."""
    text = README.read_text(encoding="utf-8")
    return re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", text, re.DOTALL).groups()


def test_example_prints_what_is_shown(capsys):
    code, shown = _blocks()
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    for name, value in re.findall(r"(\w+): (\d\.\d+)", shown):
        found = [float(v) for v in re.findall(rf"{name}: (\d\.\d+)", printed)]
        assert any(abs(v - float(value)) < 0.01 for v in found), (name, value, found)
    assert re.findall(r"'(\w+)': \d", printed) == ["hidden", "logits"]
