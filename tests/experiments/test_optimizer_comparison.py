"""End-to-end tests of the comparison of tuned optimizers."""

import csv
import dataclasses
import json
import shutil

import pytest

from experiments import optimizer_comparison
from experiments.analysis import comparison_summary
from experiments.runs import comparison
from experiments.runs.settings import ComparisonSettings
from experiments.tasks.errors import UsageError

SECONDS = ("seconds", "environment", "sha256")


@pytest.fixture(scope="module")
def finished(data_dir, tmp_path_factory):
    settings = ComparisonSettings(
        optimizers=("sgd", "adam"),
        factors=(0.1, 1.0, 10.0),
        extensions=0,
        max_steps=30,
        seeds=2,
        data_dir=data_dir,
        output_dir=str(tmp_path_factory.mktemp("comparison") / "out"),
    )
    return settings, optimizer_comparison.main(settings)


def _at_rates(*rates, max_steps, data_dir, directory):
    """Settings of plain SGD on an autoencoder, which diverges at high rates."""
    return ComparisonSettings(
        task="digits_autoencoder",
        optimizers=("sgd",),
        learning_rates=rates,
        max_steps=max_steps,
        seeds=1,
        data_dir=data_dir,
        output_dir=str(directory / "out"),
    )


def _runs(directory):
    found = {}
    for path in sorted((directory / "runs").iterdir()):
        run = json.loads(path.read_text())
        found[path.name] = {key: value for key, value in run.items() if key not in SECONDS}
    return found


def test_results_are_complete(finished):
    _, directory = finished
    found = json.loads((directory / "results.json").read_text())
    assert len(found["grid"]) == 6
    assert len(found["runs"]) == 6 + 2
    for optimizer, row in found["summary"].items():
        losses = {
            r["learning_rate"]: r["final_loss"]
            for r in found["grid"]
            if r["optimizer"] == optimizer
        }
        assert row["best_rate"] == min(losses, key=losses.get)
        assert len(row["by_seed"]) == 2
        assert row["final_loss"]["lower"] < row["final_loss"]["value"] < row["final_loss"]["upper"]
    with (directory / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == comparison_summary.COLUMNS
    assert all(0 <= float(row["accuracy"]) <= 1 for row in rows)
    logs = {path.name for path in (directory / "tensorboard").iterdir() if path.is_dir()}
    assert logs == {path.stem for path in (directory / "runs").iterdir()}
    for name in ("loss", "sensitivity"):
        assert (directory / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "All rates" in (directory / "report.html").read_text(encoding="utf-8")


def test_all_runs_may_diverge(data_dir, tmp_path):
    settings = _at_rates(1e25, 1e30, max_steps=5, data_dir=data_dir, directory=tmp_path)
    directory = optimizer_comparison.main(settings)
    summary = json.loads((directory / "results.json").read_text())["summary"]["sgd"]
    assert (summary["best_rate"], summary["diverged"]) == (None, 2)
    assert (directory / "report.html").exists()


def test_several_workers_give_the_same_to_the_bit(finished, tmp_path):
    """A run for each of them, since they take longer to start than to train."""
    settings, directory = finished
    shutil.copytree(directory, tmp_path / "out")
    for name in ("sgd_0.1_0", "adam_0.001_0"):
        (tmp_path / "out" / "runs" / f"{name}.json").unlink()
    again = dataclasses.replace(settings, workers=2, output_dir=str(tmp_path / "out"))
    assert _runs(optimizer_comparison.main(again)) == _runs(directory)


def test_killed_and_started_again_it_trains_what_is_missing(finished, monkeypatch):
    settings, directory = finished
    before = _runs(directory)
    missing = directory / "runs" / "adam_0.001_0.json"
    missing.unlink()
    trained, original = [], comparison.train

    def train(run):
        trained.append(run.name)
        return original(run)

    monkeypatch.setattr(comparison, "train", train)
    optimizer_comparison.main(settings)
    assert trained == ["adam_0.001_0"]
    assert _runs(directory) == before


def test_divergence_is_a_result(data_dir, tmp_path):
    settings = _at_rates(0.001, 1e4, max_steps=30, data_dir=data_dir, directory=tmp_path)
    found = json.loads((optimizer_comparison.main(settings) / "results.json").read_text())
    good, bad = found["grid"]
    assert bad["diverged"]
    assert bad["final_loss"] is None
    assert found["summary"]["sgd"]["best_rate"] == good["learning_rate"]
    assert found["summary"]["sgd"]["diverged"] == 1


def test_a_grid_of_one_rate_is_extended_until_it_has_ends(data_dir, tmp_path):
    settings = ComparisonSettings(
        optimizers=("sgd",),
        factors=(1.0,),
        extensions=2,
        max_steps=30,
        seeds=1,
        data_dir=data_dir,
        output_dir=str(tmp_path / "out"),
    )
    grid = json.loads((optimizer_comparison.main(settings) / "results.json").read_text())["grid"]
    assert [run["learning_rate"] for run in grid] == [0.01, 0.0316, 0.1]


@pytest.mark.slow
def test_a_cluster_takes_over_the_run_of_a_killed_worker(finished, tmp_path):
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    import ray

    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    settings, directory = finished
    runs = optimizer_comparison._grid(settings)
    done = comparison._on_cluster(runs, tmp_path, cluster.address, ray)
    next(done)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    cluster.remove_node(node, allow_graceful=False)
    list(done)
    ray.shutdown()
    cluster.shutdown()
    assert kept, "a run was done before the node died"
    assert kept == {path: path.stat().st_mtime_ns for path in kept}, "and is not trained again"
    found, expected = _runs(tmp_path), _runs(directory)
    assert found == {name: expected[name] for name in found}
    assert len(found) == len(runs)


def test_without_ray_the_mistake_is_told(finished, tmp_path, monkeypatch):
    import builtins

    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "ray":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    runs = optimizer_comparison._grid(finished[0])
    with pytest.raises(UsageError, match="pip install 'ray"):
        comparison.finish_all(runs, tmp_path, ray_address="local")
