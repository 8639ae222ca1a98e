"""Tests of the report."""

import base64
import html.parser

import pytest

from experiments.analysis import regret_summary
from experiments.reports import regret_figures, regret_report, report

TRACKED = 1000


class References(html.parser.HTMLParser):
    """Collects what a page refers to, and the headings in their order."""

    def __init__(self):
        super().__init__()
        self.references, self.headings, self._in_heading = [], [], False

    def handle_starttag(self, tag, attrs):
        self.references += [value for name, value in attrs if name in ("src", "href", "srcset")]
        self._in_heading = tag in ("h1", "h2")

    def handle_data(self, data):
        if self._in_heading and data.strip():
            self.headings.append(data.strip())
            self._in_heading = False


def parsed(path):
    """Returns the references and headings of a page."""
    page = References()
    page.feed(path.read_text(encoding="utf-8"))
    return page


@pytest.fixture(scope="module")
def page(tmp_path_factory, make_run):
    path = tmp_path_factory.mktemp("report") / "report.html"
    runs = [make_run("sgd"), make_run("adam", diverged=True)]
    summaries = [regret_summary.summarize(run, TRACKED) for run in runs]
    configuration = {"task": "digits", "optimizers": ["sgd", "adam"], "radius": None}
    sections = [
        *regret_report.sections(runs, summaries, TRACKED),
        *report.provenance(configuration, {"python": "3"}),
    ]
    report.write(path, "Title", "Lead.", sections)
    return path


def test_refers_to_nothing_outside(page):
    references = parsed(page).references
    # An icon, and of each picture two themes and its data.
    assert len(references) == 1 + 3 * (2 + 2 + 2 + 3 + 1)
    assert all(reference.startswith("data:") for reference in references)
    assert "@import" not in page.read_text()
    assert "url(" not in page.read_text()


def test_files_are_beside_the_page(page):
    for name in ("decomposition", "regret", "loss", "linear_regret", "over_root", "layers"):
        drawn = page.with_name(f"{name}.svg").read_bytes()
        assert base64.b64encode(drawn).decode("ascii") in page.read_text()
        assert page.with_name(f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_sections_are_in_order(page):
    headings = parsed(page).headings
    split = "Loss = Taylor optimum + regret"
    advice = "What the runs say about their learning rates"
    assert headings[:5] == ["Title", advice, split, "Do the steps fit?", "How to read it"]
    assert headings[-2:] == ["Configuration", "Versions and machine"]


def test_divergence_is_told(page):
    assert "adam diverged" in page.read_text()


def test_wide_intervals_are_told(page):
    assert "sgd: the interval of layer:a is wider than the tolerance" in page.read_text()


def test_both_colour_schemes_and_small_screens(page):
    text = page.read_text()
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_texts_are_escaped(tmp_path, make_run):
    table = report.Table(("<b>",), [("<script>x",)])
    picture = report.picture('"><script>x', lambda: regret_figures.regret_figure([make_run()]))
    section = report.Section("a & b", table=table, pictures=(picture,), names={"<i>": "<u>"})
    report.write(tmp_path / "x.html", "<title>", "", [section])
    text = (tmp_path / "x.html").read_text()
    for tag in ("<b>", "<script>x", "<i>", "<u>"):
        assert tag not in text
    assert "a &amp; b" in text
