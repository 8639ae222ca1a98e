"""The guide and the README: examples print what is shown, links lead somewhere, tables are true."""

import pathlib
import re

import documents
import pytest

import keras_taylor as kt
from experiments.analysis import claims, rate_summary
from experiments.reports import rate_report, regret_tables, reproduction_report
from experiments.runs import results
from keras_taylor.diagnosis import rules

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
RESULTS = ROOT / "experiments" / "results"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def _text(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in NAMES if documents.blocks(_text(name))])
def test_examples_print_what_is_shown(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    documents.run(ROOT / name, lambda: capsys.readouterr().out)


def test_every_page_with_python_is_run():
    run = {name for name in NAMES if documents.blocks(_text(name))}
    assert run == {name for name in NAMES if "```python" in _text(name)}


@pytest.mark.parametrize("name", NAMES)
def test_links_and_pictures_resolve(name):
    text = re.sub(r"^```.*?^```$", "", _text(name), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        page = (ROOT / name).parent / path if path else ROOT / name
        assert page.is_file(), link
        assert not anchor or anchor in _anchors(page), link


def _anchors(page):
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", each.lower()).strip()) for each in headings]


def test_navigation_names_every_page():
    named = re.findall(r"^  - .*: (\S+\.md)$", _text("mkdocs.yml"), re.MULTILINE)
    assert sorted(named) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_api_page_names_everything_public():
    named = set(re.findall(r"^::: keras_taylor\.(\S+)$", _text("docs/api.md"), re.MULTILINE))
    for name in set(kt.__all__) - {"__version__"}:
        found = getattr(kt, name)
        inner = getattr(found, "__all__", None) if isinstance(found, type(kt)) else None
        expected = {name} if inner is None else {f"{name}.{each}" for each in inner}
        assert expected <= named, name


def _rows(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(reproduction_report._row(cells) for cells in lines)


def _advice(task):
    found = results.read_json(RESULTS / "rate_advice" / task / "results.json")
    return rate_summary.summarize(found["cases"])


@pytest.mark.parametrize("task", ["digits_classifier", "mnist_autoencoder"])
@pytest.mark.parametrize("table", [rate_report.advice_table, rate_report.loss_table])
def test_tables_of_rate_advice_are_those_of_the_results(task, table):
    assert (expected := _rows(*table(_advice(task)))) in _text("docs/results.md"), expected


def test_readme_has_what_advice_came_to_over_all_optimizers():
    for task in ("digits_classifier", "mnist_autoencoder"):
        summary = {task: _advice(task)["all"]}
        _, [(_, *_, right, wrong)] = rate_report.advice_table(summary)
        _, [row] = rate_report.loss_table(summary)
        expected = reproduction_report._row((*row, right, wrong))
        assert expected in _text("README.md"), expected


def test_claims_and_the_short_window_are_those_of_the_results():
    held = results.read_json(RESULTS / "paper" / "results.json")["claims"]
    expected = _rows(claims.table([])[0], [row.values() for row in held])
    assert expected in _text("docs/results.md"), expected
    window = results.read_json(RESULTS / "short_window" / "mnist_autoencoder" / "results.json")
    expected = _rows(*regret_tables.decomposition_table(window["summaries"]))
    assert expected in _text("docs/reading.md"), expected


def test_rules_of_the_advice_are_those_of_the_code():
    said = [(r.verdict, _sentence(r.of_network or r.of_layer), r.reason) for r in rules.RULES]
    expected = _rows(("verdict", "advice", "why"), said)
    assert expected in _text("docs/four_runs.md"), expected


def _sentence(text):
    return text.format(times="…", rounds="…")
