"""Tests of the settings of the binaries."""

import pathlib

import pytest

from experiments.runs import settings
from experiments.tasks.errors import UsageError

ALL = (
    settings.RegretSettings,
    settings.ExplorationSettings,
    settings.ComparisonSettings,
    settings.ShatteringSettings,
)


@pytest.mark.parametrize("kind", ALL)
def test_configuration_leaves_out_the_directories(kind):
    here = kind(data_dir="a", output_dir="b").configuration("test")
    assert here == kind(data_dir="c", output_dir="d").configuration("test")
    assert here != kind(seed=1).configuration("test")
    assert here != kind().configuration("another")


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (settings.RegretSettings, {"horizons": 3}),
        (settings.RegretSettings, {"radius": 2.0}),
        (settings.RegretSettings, {"tolerance": 0.1}),
        (settings.ExplorationSettings, {"seeds": 5}),
        (settings.ExplorationSettings, {"burn_in": 5}),
        (settings.ComparisonSettings, {"learning_rates": (0.1,)}),
        (settings.ComparisonSettings, {"strategy": "mirrored"}),
        (settings.ShatteringSettings, {"depths": (3,)}),
    ],
)
def test_configuration_has_everything_that_determines_the_results(kind, change):
    assert kind(**change).configuration("test") != kind().configuration("test")


def test_the_number_of_workers_determines_nothing():
    one, two = (settings.ComparisonSettings(workers=n).configuration("test") for n in (1, 2))
    assert one == two


def test_configuration_resolves_defaults():
    given = settings.RegretSettings(epochs=20).configuration("test")
    assert given == settings.RegretSettings().configuration("test")


def test_output_path_defaults_to_experiment_and_task():
    path = pathlib.Path("out/test/digits_classifier")
    assert settings.RegretSettings().output_path("test") == path
    assert settings.ShatteringSettings().output_path("test") == pathlib.Path("out/test")
    assert settings.ReproductionSettings().output_path("test") == pathlib.Path("out/test/quick")
    for kind in (*ALL, settings.ReproductionSettings):
        assert kind(output_dir="x").output_path("test") == pathlib.Path("x")


def test_seeds_are_successive():
    assert list(settings.ExplorationSettings(seed=4, seeds=3).run_seeds()) == [4, 5, 6]


def test_rates_are_the_grid_or_what_was_given():
    grid = settings.ComparisonSettings(factors=(0.1, 1.0)).rates_of("sgd")
    assert grid == [0.001, 0.01]
    assert settings.ComparisonSettings(learning_rates=(0.5,)).rates_of("sgd") == [0.5]


def test_a_comparison_refuses_an_optimizer_with_a_rate():
    with pytest.raises(UsageError, match="--optimizers=sgd:0.1: rates are tuned"):
        settings.ComparisonSettings(optimizers=("sgd:0.1",))
