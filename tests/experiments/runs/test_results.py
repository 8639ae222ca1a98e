"""Tests of results on disk."""

import json
import math

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
