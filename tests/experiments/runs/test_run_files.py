"""Tests of files of finished runs: whole ones are kept, damaged ones are trained again."""

import json
import math

import numpy as np
import pytest

from experiments.runs import run_files

RUN = {"loss": 2 / 3, "steps": [1, 2], "rate": 1e-7, "units": {"a": [0.1, None]}, "name": "ü"}


def _never():
    raise AssertionError("trained again")


def test_a_run_is_trained_once_and_read_as_it_was_written(tmp_path, capsys):
    path = tmp_path / "runs" / "sgd.json"
    numpy_run = RUN | {"loss": np.float64(2 / 3), "steps": np.array([1, 2]), "rate": 1e-7}
    first = run_files.run_once(path, lambda: numpy_run)
    assert first["environment"]["python"]
    assert {name: first[name] for name in RUN} == RUN
    assert run_files.run_once(path, _never, "sgd") == first
    assert "sgd: already in" in capsys.readouterr().out


def test_what_is_not_finite_is_null_and_no_damage(tmp_path):
    run_files.write(tmp_path / "x.json", {"loss": math.nan})
    assert run_files.read(tmp_path / "x.json") == {"loss": None}


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "x.json"
    run_files.write(path, RUN)
    return path


def _assert_trained_again(path, capsys):
    assert run_files.run_once(path, lambda: {"loss": 1.0})["loss"] == 1.0
    assert "damaged" in (text := capsys.readouterr().out.replace("\n", ""))
    assert path.name in text
    assert run_files.read(path)["loss"] == 1.0


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace("0.666", "0.667"),
        lambda text: text.replace('"steps"', '"stops"'),
        lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "sha256"}),
    ],
    ids=["cut", "empty", "list", "object", "number", "name", "no checksum"],
)
def test_a_damaged_run_is_trained_again_and_said(written, damage, capsys):
    text = written.read_text()
    assert damage(text) != text
    written.write_text(damage(text))
    _assert_trained_again(written, capsys)


def test_bytes_that_are_no_text_are_damage(written, capsys):
    written.write_bytes(b"\xff\xfe" + written.read_bytes())
    _assert_trained_again(written, capsys)
