"""End-to-end tests of the advice on rates."""

import csv
import json

import pytest

from experiments import rate_advice
from experiments.analysis import rate_summary
from experiments.runs import rate_trials
from experiments.runs.settings import RateAdviceSettings


@pytest.fixture(scope="module")
def finished(data_dir, tmp_path_factory):
    settings = RateAdviceSettings(
        optimizers=("sgd",),
        factors=(1.0, 10.0),
        max_steps=40,
        seeds=1,
        data_dir=data_dir,
        output_dir=str(tmp_path_factory.mktemp("advice") / "out"),
    )
    return settings, rate_advice.main(settings)


def test_results_are_complete(finished):
    _, directory = finished
    found = json.loads((directory / "results.json").read_text())
    (case,) = found["cases"]
    assert [run["learning_rate"] for run in case["grid"]] == [0.01, 0.1]
    # An eighth of 40 rounds carries no advice.
    assert {run["verdict"] for run in case["grid"]} == {"too few rounds"}
    assert set(case["others"]) == {"default", "range_steepest", "range_minimum"}
    assert found["summary"]["sgd"]["begins"] == 2
    with (directory / "advice.csv").open(newline="") as file:
        assert tuple(next(csv.reader(file))) == rate_summary.COLUMNS
    for name in ("advice", "agreement"):
        assert (directory / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "right way" in (directory / "report.html").read_text(encoding="utf-8")


def test_started_again_it_trains_nothing(finished, monkeypatch):
    settings, directory = finished
    before = (directory / "results.json").read_text()
    monkeypatch.setattr(rate_trials, "Trainer", None)
    rate_advice.main(settings)
    assert (directory / "results.json").read_text() == before
