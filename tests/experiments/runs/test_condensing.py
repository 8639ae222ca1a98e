"""Tests of small copies of results."""

from experiments.runs import condensing, results


def test_numbers_are_rounded_and_curves_of_units_left_out(make_run):
    run = make_run()
    found = condensing.condensed(results.jsonable(run | {"exact": 1 / 3, "count": 12_345_678}))
    assert found["exact"] == 0.333333
    assert found["count"] == 12_345_678
    assert found["units"]["a"] == {"relative_regret": found["units"]["a"]["relative_regret"]}
    assert set(found["layers"]["a"]) == set(run["layers"]["a"])


def test_a_copy_has_results_and_pictures_only(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    results.write_json(source / "task" / "results.json", {"runs": [{"loss": 2 / 3}]})
    results.write_json(source / "task" / "configuration.json", {"seed": 0})
    results.write_json(source / "task" / "runs" / "sgd.json", {"loss": 2 / 3})
    for name in ("loss.png", "report.html", "loss.csv"):
        results.write_text(source / "task" / name, name)
    condensing.condense(source, target)
    files = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert files == {"task/results.json", "task/configuration.json", "task/loss.png"}
    assert results.read_json(target / "task" / "results.json") == {"runs": [{"loss": 0.666667}]}
    assert (target / "task" / "loss.png").read_text() == "loss.png"
