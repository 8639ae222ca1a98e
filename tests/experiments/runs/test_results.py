"""Tests of results on disk."""

import errno
import json
import math
import os
import pathlib

import numpy as np
import pytest

from experiments.runs import results
from experiments.tasks.errors import UsageError

CONFIGURATION = {"task": "digits", "epochs": 3, "optimizers": ("sgd", "adam")}


def test_claiming_again_continues(tmp_path):
    directory = results.claim(tmp_path / "a" / "b", CONFIGURATION)
    (directory / "runs.json").write_text("{}")
    assert results.claim(directory, CONFIGURATION) == directory


def test_another_configuration_is_refused_and_nothing_changes(tmp_path):
    results.claim(tmp_path, CONFIGURATION)
    before = (tmp_path / results.CONFIGURATION).read_text()
    other = CONFIGURATION | {"epochs": 5, "radius": 1.0}
    with pytest.raises(UsageError, match="epochs is 3 there, 5 was asked for; radius is None"):
        results.claim(tmp_path, other)
    assert (tmp_path / results.CONFIGURATION).read_text() == before


def test_foreign_files_are_refused_and_hidden_ones_ignored(tmp_path):
    (tmp_path / ".hidden").write_text("")
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="not empty"):
        results.claim(tmp_path, CONFIGURATION)
    (tmp_path / "thesis.tex").unlink()
    results.claim(tmp_path, CONFIGURATION)


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write results"):
        results.claim(tmp_path / "file", CONFIGURATION)


def test_json_has_null_for_what_is_not_finite(tmp_path):
    value = {"a": [math.nan, np.float32("inf"), 1.5], 2: np.array([1.0, np.nan]), "b": np.int64(3)}
    results.write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == {"a": [None, None, 1.5], "2": [1.0, None], "b": 3}
    assert results.read_json(tmp_path / "x.json") == json.loads(text)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "x.csv"
    results.write_csv(path, ["a"], [{"a": 1}])
    with pytest.raises(ValueError, match="b"):
        results.write_csv(path, ["a"], [{"b": 1}])
    assert path.read_text() == "a\n1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_csv_cells_without_a_value_are_empty(tmp_path):
    results.write_csv(tmp_path / "x.csv", ["a", "b"], [{"a": math.nan, "b": None}, {"a": 0.5}])
    assert (tmp_path / "x.csv").read_text() == "a,b\n,\n0.5,\n"


def test_environment_names_versions_and_machine():
    environment = results.environment()
    assert environment["processor_count"] >= 1
    for package in ("python", "tensorflow", "keras", "numpy"):
        assert environment[package][0].isdigit()


@pytest.mark.parametrize("text", ["", '{"task": ', "[1]"])
def test_a_damaged_configuration_is_told_and_nothing_is_overwritten(tmp_path, text):
    (tmp_path / results.CONFIGURATION).write_text(text)
    with pytest.raises(UsageError, match=f"configuration.json is damaged.*remove {tmp_path} and"):
        results.claim(tmp_path, CONFIGURATION)
    assert (tmp_path / results.CONFIGURATION).read_text() == text


def test_results_that_are_not_there_or_damaged_are_told(tmp_path):
    with pytest.raises(UsageError, match="holds no results, it has no results.json"):
        results.read_finished(tmp_path / "results.json")
    (tmp_path / "results.json").write_text('{"runs": [')
    with pytest.raises(UsageError, match="remove .*results.json and train again"):
        results.read_finished(tmp_path / "results.json")


def test_a_full_disk_is_told_with_the_file(tmp_path, monkeypatch):
    def refuse(path, *arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "x.json"
    results.write_json(path, 1)
    monkeypatch.setattr(pathlib.Path, "open", refuse)
    with pytest.raises(UsageError, match=r"cannot write .*x\.json: .*No space left"):
        results.write_json(path, 2)
    monkeypatch.undo()
    assert results.read_json(path) == 1
