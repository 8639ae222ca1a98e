"""End-to-end tests of the main binary."""

import csv
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

import keras_taylor
from experiments import taylor_regret
from experiments.analysis import regret_summary
from experiments.reports import regret_report
from experiments.runs import training
from experiments.tasks.errors import UsageError

ROOT = pathlib.Path(taylor_regret.__file__).parents[1]
PICTURES = (
    "decomposition.png",
    "regret.png",
    "loss.png",
    "linear_regret.png",
    "layers.png",
    "over_root.png",
)


def _strict_json(path):
    def refuse(constant):
        raise AssertionError(f"{path} holds {constant}, which is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def _modified(directory):
    return {path: path.stat().st_mtime_ns for path in (directory / "runs").iterdir()}


@pytest.fixture(scope="module")
def finished(make_settings, look_less_often, tmp_path_factory):
    """Settings, and the directory of their results."""
    whole = make_settings(
        tmp_path_factory.mktemp("regret"),
        parts=("network", "layers"),
        horizons=2,
        units=1,
        keep_trajectories=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        look_less_often(patch)
        yield whole, taylor_regret.main(whole)


def test_results_are_complete(finished, read_summaries):
    _, directory = finished
    found = _strict_json(directory / "results.json")
    assert found["configuration"]["optimizers"] == ["sgd", "adam:0.002"]
    for item, run in zip(found["summaries"], found["runs"], strict=True):
        assert item["rounds"] == run["progress"]["steps"][-1] == 35
        assert run["environment"]["keras"]
        assert run["wall_seconds"] > 0
        assert list(item["layers"]) == ["hidden_1", "hidden_2", "logits"]
        bound = item["average_loss"] - item["network"]["average_linear_regret"]
        assert item["network"]["optimum_lower_bound"] == pytest.approx(bound, rel=1e-3, abs=1e-4)
    _check_decomposition(found)
    summaries = read_summaries(directory / "tensorboard" / "adam_0.002")
    assert {
        "_hparams_/session_start_info",
        "regret/average_linear_regret",
        "unit_average_linear_regret/logits",
        "epoch/taylor_regret_initial",
        "decomposition_optimum_lower/network",
    } < set(summaries)
    steps = [step for step, _ in summaries["regret/average_linear_regret"]]
    assert steps == list(range(10, 41, 10))
    assert len(keras_taylor.Trajectory(directory / "trajectories" / "sgd")) == 35
    with (directory / "decomposition.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["optimizer"] for row in rows} == {"sgd", "adam:0.002"}
    assert len(rows) == sum(
        len(run["decomposition"][kind]) for run in found["runs"] for kind in ("parts", "units")
    )
    with (directory / "linear_regret.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == regret_summary.COLUMNS
    assert {row["scope"] for row in rows} == {"network", "layer", "unit"}
    for name in PICTURES:
        assert (directory / name).read_bytes().startswith(b"\x89PNG")
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert 'src="http' not in page
    assert 'href="http' not in page


def _check_decomposition(found):
    for item, run in zip(found["summaries"], found["runs"], strict=True):
        rows = item["decomposition"]["parts"]
        layers = ["layer:hidden_1", "layer:hidden_2", "layer:logits"]
        assert list(rows) == ["network", *layers]
        units = run["decomposition"]["units"]
        assert len(units) == item["decomposition"]["units"]["solved"] == 3
        for row in (*rows.values(), *units):
            assert row["converged"]
            assert row["rounds"] == 35
            assert row["average_loss"] == pytest.approx(item["average_loss"], rel=1e-5)
            assert row["optimum_lower"] <= row["optimum_upper"]
            assert row["average_regret_lower"] <= row["average_linear_regret"] + 1e-6
        linear = item["network"]["average_linear_regret"]
        assert rows["network"]["average_linear_regret"] == pytest.approx(linear, rel=1e-3)


def test_running_again_skips_what_is_done(finished, capsys, monkeypatch):
    settings, directory = finished
    before, missing = _modified(directory), directory / "runs" / "adam_0.002.json"
    run, trained = _strict_json(missing), []

    def train(task, examples, choice, **options):
        trained.append(choice.label)
        return run

    monkeypatch.setattr(training, "train", train)
    # Drawing takes most of the time, and the page is there without pictures too.
    monkeypatch.setattr(regret_report, "sections", lambda *results: [])
    missing.unlink()
    (directory / "report.html").unlink()
    taylor_regret.main(settings)
    after = _modified(directory)
    assert trained == ["adam:0.002"]
    assert after[directory / "runs" / "sgd.json"] == before[directory / "runs" / "sgd.json"]
    assert missing in after
    assert (directory / "report.html").exists()
    printed = capsys.readouterr().out
    assert "skipped" in printed
    assert "adam:0.002" in printed


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"optimizers": ("sgd",)},
        {"max_steps": 41},
        {"tolerance": 0.1},
        {"recorded_rounds": 20},
        {"radius": 1.0},
    ],
)
def test_results_of_another_configuration_are_refused(settings, change):
    directory = pathlib.Path(settings.output_dir)
    directory.mkdir()
    held = dataclasses.replace(settings, **change).configuration(taylor_regret.EXPERIMENT)
    (directory / "configuration.json").write_text(json.dumps(held))
    with pytest.raises(UsageError, match=next(iter(change))):
        taylor_regret.main(settings)
    assert [path.name for path in directory.iterdir()] == ["configuration.json"]


def test_too_many_rounds_are_refused_before_anything_is_written(settings):
    with pytest.raises(UsageError, match="--burn_in=6 and --recorded_rounds=35 need more rounds"):
        taylor_regret.main(dataclasses.replace(settings, burn_in=6))
    assert not pathlib.Path(settings.output_dir).exists()


def test_a_part_that_does_not_exist_is_refused_before_anything_is_done(settings, monkeypatch):
    monkeypatch.setattr(training, "train", None)
    with pytest.raises(UsageError, match="unknown layer 'nope': expected one of hidden_1"):
        taylor_regret.main(dataclasses.replace(settings, parts=("network", "layer:nope")))
    assert not pathlib.Path(settings.output_dir).exists()


@pytest.mark.slow
def test_divergence_is_reported(settings):
    diverging = dataclasses.replace(
        settings, task="digits_autoencoder", optimizers=("sgd:1000", "sgd:0.001"), max_passes=3
    )
    directory = taylor_regret.main(diverging)
    first, second = _strict_json(directory / "results.json")["summaries"]
    assert first["diverged"]
    assert not second["diverged"]
    assert not list((directory / "trajectories").glob("*")), "kept on demand only"
    assert "sgd:1000.0 diverged" in (directory / "report.html").read_text(encoding="utf-8")


def _run_binary(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "experiments.taylor_regret", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_has_the_description_and_the_flags():
    text = _run_binary("--help").stdout
    assert text.startswith("Loss = Taylor optimum + regret")
    assert "--horizons" in text
    assert "a positive integer" in text


def test_mistakes_end_in_one_line():
    finished = _run_binary("--optimizers=sgd,nope")
    assert finished.returncode != 0
    assert "Traceback" not in finished.stderr
    (line,) = finished.stderr.strip().splitlines()
    assert line.startswith("error: flag --optimizers=sgd,nope: unknown optimizer 'nope'")
