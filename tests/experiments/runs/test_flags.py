"""Tests of the flags and the settings that they become."""

import dataclasses
import pathlib

import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

from experiments.runs import flags
from experiments.tasks.errors import UsageError


def test_defining_twice_is_harmless_and_defaults_agree():
    flags.define_flags()
    flags.define_flags()
    if not absl_flags.FLAGS.is_parsed():
        absl_flags.FLAGS(["test"])
    assert flags.settings_from_flags() == flags.Settings()


def test_flags_become_settings():
    flags.define_flags()
    if not absl_flags.FLAGS.is_parsed():
        absl_flags.FLAGS(["test"])
    with flagsaver.flagsaver(optimizers=["sgd:0.1"], epochs=3, radius=2.0):
        settings = flags.settings_from_flags()
    assert settings == flags.Settings(optimizers=("sgd:0.1",), epochs=3, radius=2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "nope"}, "unknown task"),
        ({"optimizers": ("nope",)}, "unknown optimizer"),
        ({"epochs": 0}, "--epochs=0"),
        ({"max_steps": -3}, "--max_steps=-3"),
        ({"burn_in": -1}, "--burn_in=-1"),
        ({"recorded_rounds": 0}, "--recorded_rounds=0"),
        ({"tolerance": 0.0}, "--tolerance=0.0"),
        ({"radius": 0.0}, "--radius=0.0"),
        ({"radius": float("nan")}, "--radius=nan"),
        ({"seed": -1}, "--seed=-1"),
    ],
)
def test_mistakes_name_the_flag(change, message):
    with pytest.raises(UsageError, match=message):
        flags.check(dataclasses.replace(flags.Settings(), **change))


def test_configuration_leaves_out_where_things_lie():
    here = flags.Settings(data_dir="a", output_dir="b").configuration("test")
    assert here == flags.Settings(data_dir="c", output_dir="d").configuration("test")
    assert here != flags.Settings(seed=1).configuration("test")
    assert here != flags.Settings().configuration("another")


def test_configuration_resolves_defaults():
    assert flags.Settings(epochs=20).configuration("test") == flags.Settings().configuration("test")


def test_output_path_defaults_to_experiment_and_task():
    assert flags.Settings().output_path("test") == pathlib.Path("out/test/digits_classifier")
    assert flags.Settings(output_dir="x").output_path("test") == pathlib.Path("x")
