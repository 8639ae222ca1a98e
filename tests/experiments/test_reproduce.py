"""End-to-end tests of the reproduction and its report."""

import dataclasses
import html
import json
import pathlib
import shutil
import subprocess

import pytest

from experiments import (
    exploration,
    optimizer_comparison,
    reproduce,
    shattered_gradients,
    taylor_regret,
)
from experiments.analysis import claims
from experiments.reports import (
    comparison_report,
    drawing,
    exploration_report,
    regret_report,
    reproduction_report,
    shattering_report,
)
from experiments.runs import presets, results
from experiments.runs.settings import ReproductionSettings
from experiments.tasks.errors import DataNotFoundError, UsageError


class WithoutSections:
    """A module of a report whose own page stays empty."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, name)

    @staticmethod
    def sections(*results):
        del results
        return []


def _draw_one_report_only(patch):
    """Leaves out the experiments' own pages and pictures, which their own tests look at."""
    patch.setattr(drawing, "write_images", lambda *figure: None)
    for experiment, module in (
        (optimizer_comparison, comparison_report),
        (taylor_regret, regret_report),
        (exploration, exploration_report),
        (shattered_gradients, shattering_report),
    ):
        patch.setattr(experiment, module.__name__.rpartition(".")[2], WithoutSections(module))


def _decompose_once(patch):
    """Lets the decomposition of the second half be that of the whole run, to save its time."""
    decompose = taylor_regret.main

    def main(settings):
        directory = pathlib.Path(settings.output_dir)
        if directory.name != presets.FROM_MIDDLE:
            return decompose(settings)
        return shutil.copytree(directory.with_name("decomposition"), directory)

    patch.setattr(taylor_regret, "main", main)


@pytest.fixture(scope="module")
def finished(data_dir, look_less_often, tmp_path_factory):
    plan = presets.TaskPlan(
        "digits_classifier",
        optimizers=("sgd", "adam"),
        factors=(1.0,),
        steps=20,
        seeds=1,
        burn_in=5,
        recorded=20,
        sample=10,
        from_middle=("network",),
        tolerance=0.5,
        parts=("network",),
        horizons=3,
        units=0,
        max_passes=5,
        explored_seeds=1,
    )
    shattering = {
        "kinds": ("linear", "relu"),
        "depths": (1, 3),
        "lines": 2,
        "points": 8,
        "seeds": 1,
        "width": 8,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "tiny", (plan,))
        patch.setitem(presets.SHATTERING, "tiny", shattering)
        _draw_one_report_only(patch)
        _decompose_once(patch)
        look_less_often(patch)
        directory = tmp_path_factory.mktemp("reproduction") / "out"
        settings = ReproductionSettings("tiny", data_dir=data_dir, output_dir=str(directory))
        reproduce.main(settings)
        yield settings


def _directory(settings):
    return settings.output_path(reproduce.EXPERIMENT)


def test_report_leads_with_the_claims(finished):
    page = (_directory(finished) / "report.html").read_text(encoding="utf-8")
    assert page.index("Claim by claim") < page.index("Tuned optimizers")
    assert 'src="http' not in page
    text = (_directory(finished) / "report.md").read_text(encoding="utf-8")
    for claim in ("C1a", "C1b", "C2", "C3", "C4"):
        assert f"| {claim} |" in text


def test_each_piece_of_evidence_can_be_traced(finished):
    found = json.loads((_directory(finished) / "results.json").read_text())
    assert {row["claim"] for row in found["claims"]} == {"C1a", "C1b", "C2", "C3", "C4"}
    assert found["evidence"]
    for piece in found["evidence"]:
        path = piece["source"].split(" ")[0].split("/")
        # The directory of an experiment, then keys within its results.
        depth = next(
            n
            for n in range(1, 4)
            if (_directory(finished).joinpath(*path[:n], "results.json")).exists()
        )
        value = json.loads(_directory(finished).joinpath(*path[:depth], "results.json").read_text())
        for key in path[depth:]:
            key = (
                " ".join([key, *piece["source"].split(" ")[1:]])
                if key not in value and isinstance(value, dict)
                else key
            )
            value = value[int(key)] if isinstance(value, list) else value[key]
        assert value


def test_report_says_how_long_it_took(finished):
    seconds = json.loads((_directory(finished) / "results.json").read_text())["seconds"]
    kinds = ("comparison", "decomposition", "decomposition_from_middle", "exploration")
    names = [f"digits_classifier, {kind}" for kind in kinds]
    assert list(seconds) == [*names, "shattering", "together"]
    assert all(value > 0 for value in seconds.values())
    assert seconds.pop("together") == pytest.approx(sum(seconds.values()))
    assert "minutes" in (_directory(finished) / "report.html").read_text(encoding="utf-8")


def test_the_second_half_is_decomposed_by_itself(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(optimizer_comparison, "main", lambda settings: tmp_path)
    monkeypatch.setattr(taylor_regret, "main", asked.append)
    grid = [{"optimizer": "sgd", "learning_rate": 1.0, "final_loss": 0.1}]
    results.write_json(tmp_path / "results.json", {"grid": grid})
    plan = presets.TaskPlan(
        "digits_classifier", burn_in=5, recorded=20, from_middle=("layers",), explored=False
    )
    reproduce._run_task(ReproductionSettings("tiny"), plan, tmp_path / "out")
    windows = [(one.burn_in, one.recorded_rounds, one.parts) for one in asked]
    assert windows == [(5, 20, ("network", "layers")), (15, 10, ("layers",))]
    assert [pathlib.Path(one.output_dir).name for one in asked] == [
        "decomposition",
        presets.FROM_MIDDLE,
    ]


@pytest.mark.slow
def test_run_again_it_trains_nothing(finished):
    runs = list(_directory(finished).rglob("runs/*.json"))
    before = {path: path.stat().st_mtime_ns for path in runs}
    reproduce.main(finished)
    assert before == {path: path.stat().st_mtime_ns for path in runs}


def test_report_comes_again_without_training(finished, tmp_path):
    """From the results alone: no runs, no trajectories."""
    copy = tmp_path / "copy"
    shutil.copytree(
        _directory(finished),
        copy,
        ignore=shutil.ignore_patterns("runs", "*.html", "*.png", "*.svg"),
    )
    settings = dataclasses.replace(finished, output_dir=str(copy), report_only=True)
    reproduce.main(settings)
    assert (copy / "report.html").read_text() == (_directory(finished) / "report.html").read_text()


def test_a_condensed_copy_has_a_report_too(finished, tmp_path, monkeypatch):
    reported = []
    monkeypatch.setattr(reproduce, "_report", reported.append)
    small = tmp_path / "small"
    settings = dataclasses.replace(finished, report_only=True, condensed_dir=str(small))
    reproduce.main(settings)
    assert reported == [_directory(finished), small]
    assert (small / "digits_classifier" / "decomposition" / "results.json").exists()
    assert not list(small.rglob("runs"))


def test_committed_results_say_what_their_claims_do():
    directory = pathlib.Path(reproduce.__file__).parent / "results" / "paper"
    tasks = results.read_json(directory / "configuration.json")["tasks"]
    by_task = {plan["task"]: reproduce._read_task(directory / plan["task"], plan) for plan in tasks}
    shattering = results.read_json(directory / "shattering" / "results.json")
    evidence = reproduction_report.evidence_of(by_task, shattering)
    held = results.read_json(directory / "results.json")
    assert [dataclasses.asdict(piece) for piece in evidence] == held["evidence"]
    assert [list(row.values()) for row in held["claims"]] == [
        list(row) for row in claims.table(evidence)[1]
    ]
    readme = (directory.parents[2] / "README.md").read_text(encoding="utf-8")
    for row in held["claims"]:
        assert f"| {' | '.join(row.values())} |" in readme


def test_report_without_results_is_refused(finished, tmp_path):
    settings = dataclasses.replace(finished, output_dir=str(tmp_path / "x"), report_only=True)
    with pytest.raises(UsageError, match="holds no results"):
        reproduce.main(settings)


def test_results_of_another_experiment_are_refused(finished):
    comparison = _directory(finished) / "digits_classifier" / "comparison"
    settings = dataclasses.replace(finished, output_dir=str(comparison), report_only=True)
    with pytest.raises(UsageError, match="holds no reproduction"):
        reproduce.main(settings)


def test_all_data_are_looked_for_before_anything_is_trained(data_dir, tmp_path, monkeypatch):
    def refuse(dataset, directory):
        raise DataNotFoundError(dataset)

    monkeypatch.setattr(reproduce.datasets, "prepared", refuse)
    settings = ReproductionSettings("paper", data_dir=data_dir, output_dir=str(tmp_path / "out"))
    with pytest.raises(DataNotFoundError, match="mnist"):
        reproduce.main(settings)
    assert not (tmp_path / "out").exists()


def test_without_a_rate_that_trains_nothing_is_decomposed(tmp_path, monkeypatch):
    diverged = {"grid": [{"optimizer": "sgd", "learning_rate": 1.0, "final_loss": None}]}
    comparison = tmp_path / "digits_classifier" / "comparison"
    results.write_json(comparison / "results.json", diverged)
    monkeypatch.setattr(optimizer_comparison, "main", lambda settings: comparison)
    monkeypatch.setattr(taylor_regret, "main", None)
    plan = presets.TaskPlan("digits_classifier")
    reproduce._run_task(ReproductionSettings("quick"), plan, comparison.parent)
    found = reproduce._read_task(comparison.parent, dataclasses.asdict(plan))
    assert found == {"comparison": diverged}


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [1300, 400])
def test_report_opens_in_a_browser_without_an_error(finished, width):
    page = _directory(finished) / "report.html"
    checked = pathlib.Path(_directory(finished), "checked.html")
    # Sorts the first table by its third column, and says what came out in the page's title.
    script = """<script>addEventListener('load', () => {
      const table = document.querySelector('table');
      table.querySelectorAll('th button')[2].click();
      const cells = [...table.tBodies[0].rows].map(row => row.cells[2].textContent);
      const images = [...document.images].filter(i => getComputedStyle(i).display !== 'none');
      const broken = images.filter(i => !i.complete || !i.naturalWidth).length;
      const overflow = document.documentElement.scrollWidth - innerWidth;
      const found = {cells, images: images.length, broken, overflow, width: innerWidth};
      parent.document.body.dataset.checked = JSON.stringify(found);
    });</script></body>"""
    inner = html.escape(page.read_text().replace("</body>", script))
    # In a frame, since windows have a least width.
    checked.write_text(f'<body><iframe style="border:0;width:{width}px" srcdoc="{inner}"></iframe>')
    finished_process = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=4000",
            "--window-size=1400,900",
            "--enable-logging=stderr",
            "--dump-dom",
            checked.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "CONSOLE" not in finished_process.stderr
    dom = finished_process.stdout
    data = dom.partition('data-checked="')[2].partition('"')[0].replace("&quot;", '"')
    found = json.loads(data)
    assert found["cells"] == sorted(found["cells"])
    assert found["images"] > 5
    assert found["broken"] == 0
    assert found["width"] == width
    assert found["overflow"] <= 0
