"""End-to-end tests of the experiment on shattered gradients."""

import json
import math

import numpy as np
import pytest

from experiments import shattered_gradients
from experiments.analysis import shattering_summary
from experiments.reports import shattering_report
from experiments.runs.settings import ShatteringSettings


@pytest.fixture(scope="module")
def finished(data_dir, tmp_path_factory):
    settings = ShatteringSettings(
        kinds=("linear", "relu"),
        depths=(1, 6),
        width=24,
        lines=2,
        points=24,
        seeds=2,
        data_dir=data_dir,
        output_dir=str(tmp_path_factory.mktemp("shattering") / "out"),
    )
    return settings, shattered_gradients.main(settings)


def _runs(finished):
    return json.loads((finished[1] / "results.json").read_text())["runs"]


def test_results_are_complete(finished):
    _, directory = finished
    runs = _runs(finished)
    assert len(runs) == 2 * 2 * 2
    for run in runs:
        assert np.shape(run["autocorrelation"]) == (2 * 2, 12)
        assert len(run["input_correlation"]) == len(run["distances"])
        assert len(run["weight_correlation"]) == len(run["distances"])
    header = (directory / "shattering.csv").read_text().splitlines()[0]
    assert header == ",".join(shattering_summary.COLUMNS)
    assert (directory / "half_widths.png").exists()
    assert "Do gradients shatter with depth?" in (directory / "report.html").read_text()


def test_linear_networks_do_not_shatter_and_rectifiers_do(finished):
    for run in _runs(finished):
        if run["kind"] == "linear":
            np.testing.assert_allclose(run["autocorrelation"], 1.0, rtol=1e-4)
            assert run["half_widths"] == [None] * 4
        elif run["depth"] == 6:
            assert np.mean(run["autocorrelation"], axis=0)[-1] < 0.9
    summary = shattering_summary.summarize(_runs(finished))
    assert math.isinf(summary["linear"]["6"]["value"])
    assert shattering_report.width_table(summary)[1][0] == ("linear", "∞", "∞")


def test_running_again_skips_what_is_done(finished, monkeypatch):
    settings, directory = finished
    monkeypatch.setattr(shattered_gradients, "write", lambda *arguments: None)
    before = {p: p.stat().st_mtime_ns for p in (directory / "runs").iterdir()}
    shattered_gradients.main(settings)
    assert before == {p: p.stat().st_mtime_ns for p in (directory / "runs").iterdir()}
