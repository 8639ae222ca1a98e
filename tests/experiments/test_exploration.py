"""End-to-end tests of the experiment on exploration."""

import csv
import dataclasses
import json

import pytest

from experiments import exploration
from experiments.analysis import exploration_summary
from experiments.runs.settings import ExplorationSettings


@pytest.fixture(scope="module")
def finished(data_dir, look_less_often, tmp_path_factory):
    settings = ExplorationSettings(
        optimizers=("sgd", "sgd_rms_normalized"),
        max_steps=30,
        recorded_rounds=10,
        tolerance=0.5,
        seeds=2,
        data_dir=data_dir,
        output_dir=str(tmp_path_factory.mktemp("exploration") / "out"),
    )
    with pytest.MonkeyPatch.context() as patch:
        look_less_often(patch)
        yield settings, exploration.main(settings)


def test_results_are_complete(finished):
    _, directory = finished
    found = json.loads((directory / "results.json").read_text())
    assert len(found["runs"]) == 4
    for run in found["runs"]:
        assert run["steps"][0] == 0
        assert run["steps"][-1] == 30
        assert all(len(values) == len(run["steps"]) for values in run["measures"].values())
        assert run["optimum"]["converged"]
        assert run["optimum"]["average_loss"] == pytest.approx(run["means"]["loss"], rel=1e-4)
        assert 0 <= run["snr_median"]["gradients"] <= 1
    for row in found["summary"]["optimizers"].values():
        assert row["runs"] == 2
        assert row["switches a rectifier"]["value"] > 0
    assert len(found["summary"]["claims"]) == 6
    assert set(found["summary"]["normalization"]) == {
        *exploration_summary.MEASURES,
        *exploration_summary.ENDS,
    }
    with (directory / "exploration.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["measure"] for row in rows} > {"loss", "activation_hamming", "Taylor optimum"}
    for name in ("loss", "switches", "nearest", "optimum_and_switches"):
        assert (directory / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert "What RMS normalisation changes" in page
    assert not (directory / "trajectories").exists() or not list(
        (directory / "trajectories").iterdir()
    )


def test_running_again_skips_what_is_done_and_repeats_it_to_the_bit(finished, capsys):
    settings, directory = finished
    path = directory / "runs" / "sgd_1.json"
    before = json.loads(path.read_text())
    path.unlink()
    exploration.main(settings)
    after = json.loads(path.read_text())
    for key in ("losses", "measures", "optimum", "snr_median"):
        assert after[key] == before[key]
    assert "sgd 0: already in" in capsys.readouterr().out


def test_the_same_seed_starts_all_optimizers_alike(finished):
    runs = json.loads((finished[1] / "results.json").read_text())["runs"]
    of_seed = [run for run in runs if run["seed"] == 1]
    assert len({run["measures"]["distinct_configurations"][0] for run in of_seed}) == 1


@pytest.mark.slow
def test_divergence_is_a_result(finished, tmp_path):
    settings = dataclasses.replace(
        finished[0],
        task="digits_autoencoder",
        optimizers=("sgd:1000", "sgd:0.001"),
        seeds=1,
        output_dir=str(tmp_path / "out"),
    )
    found = json.loads((exploration.main(settings) / "results.json").read_text())
    assert [run["diverged"] for run in found["runs"]] == [True, False]
    assert found["summary"]["optimizers"]["sgd:1000.0"]["diverged"] == 1
