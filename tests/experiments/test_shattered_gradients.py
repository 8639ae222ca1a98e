"""End-to-end tests of the experiment on shattered gradients."""

import dataclasses
import json
import math

import numpy as np
import pytest

from experiments import shattered_gradients
from experiments.reports import shattering_report
from experiments.tasks.errors import UsageError
from experiments.tasks import shattering_networks


@pytest.fixture(scope="module")
def finished(data_dir, tmp_path_factory):
    settings = shattered_gradients.Settings(
        kinds=("linear", "relu", "batch-normalised relu"),
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
    assert len(runs) == 3 * 2 * 2
    for run in runs:
        assert np.shape(run["autocorrelation"]) == (2 * 2, 12)
        assert len(run["input_correlation"]) == len(run["distances"])
        assert len(run["weight_correlation"]) == len(run["distances"])
    header = (directory / "shattering.csv").read_text().splitlines()[0]
    assert header == ",".join(shattering_report.COLUMNS)
    assert (directory / "half_widths.png").exists()
    assert "Do gradients shatter with depth?" in (directory / "report.html").read_text()


def test_linear_networks_do_not_shatter_and_rectifiers_do(finished):
    for run in _runs(finished):
        if run["kind"] == "linear":
            np.testing.assert_allclose(run["autocorrelation"], 1.0, rtol=1e-4)
            assert run["half_widths"] == [None] * 4
        elif run["depth"] == 6:
            assert np.mean(run["autocorrelation"], axis=0)[-1] < 0.9
    summary = shattering_report.summarize(_runs(finished))
    assert math.isinf(summary["linear"]["6"]["value"])
    assert shattering_report.width_table(summary)[1][0] == ("linear", "∞", "∞")


def test_running_again_skips_what_is_done(finished):
    settings, directory = finished
    before = {p: p.stat().st_mtime_ns for p in (directory / "runs").iterdir()}
    shattered_gradients.main(settings)
    assert before == {p: p.stat().st_mtime_ns for p in (directory / "runs").iterdir()}


@pytest.mark.parametrize("kind", shattering_networks.KINDS)
def test_activations_keep_their_size_with_depth(kind):
    x = np.random.default_rng(0).normal(size=(64, 30))
    for depth in (2, 20):
        model = shattering_networks.build(kind, depth, 200, 30, 2, seed=0)
        shattering_networks.calibrate(model, x)
        assert 0.1 < np.asarray(model(x)).std() < 5


def test_normalised_networks_are_calibrated_on_the_data():
    x = 3.0 + np.random.default_rng(0).normal(size=(64, 10))
    model = shattering_networks.build("batch-normalised relu", 2, 20, 10, 2, seed=0)
    shattering_networks.calibrate(model, x)
    np.testing.assert_allclose(model(x), model(x, training=True), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kinds": ("cubic",)}, "--kinds=cubic: expected some of linear"),
        ({"depths": (0,)}, "--depths"),
        ({"points": 1}, "--points=1"),
        ({"seeds": 0}, "--seeds=0"),
    ],
)
def test_mistakes_name_the_flag(change, message):
    with pytest.raises(UsageError, match=message):
        shattered_gradients.check(dataclasses.replace(shattered_gradients.Settings(), **change))
