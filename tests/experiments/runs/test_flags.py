"""Tests of the flags and the settings that they become."""

import pytest
from absl import flags as absl_flags

from experiments.runs import flags, settings
from experiments.tasks.errors import DataNotFoundError, UsageError

ALL = (
    settings.RegretSettings,
    settings.ExplorationSettings,
    settings.ComparisonSettings,
    settings.ShatteringSettings,
    settings.ReproductionSettings,
)


def _parsed(kind, *arguments):
    values = absl_flags.FlagValues()
    flags.define_flags(kind(), values)
    values(["binary", *arguments])
    return flags.settings_from_flags(kind, values)


@pytest.mark.parametrize("kind", ALL)
def test_without_flags_the_settings_are_the_defaults(kind):
    assert _parsed(kind) == kind()


@pytest.mark.parametrize("kind", ALL)
def test_a_binary_has_the_flags_of_its_settings_only(kind):
    with pytest.raises(absl_flags.UnrecognizedFlagError):
        _parsed(kind, "--no_such_flag=1")
    if kind is not settings.RegretSettings:
        with pytest.raises(absl_flags.UnrecognizedFlagError):
            _parsed(kind, "--horizons=3")


def test_flags_become_settings():
    found = _parsed(
        settings.RegretSettings,
        "--optimizers=sgd:0.1, adam",
        "--epochs=3",
        "--radius=2",
        "--parts=network,layer:logits",
        "--keep_trajectories",
    )
    assert found == settings.RegretSettings(
        optimizers=("sgd:0.1", "adam"),
        epochs=3,
        radius=2.0,
        parts=("network", "layer:logits"),
        keep_trajectories=True,
    )
    found = _parsed(settings.ShatteringSettings, "--kinds=relu,residual relu", "--depths=1, 20")
    assert found == settings.ShatteringSettings(kinds=("relu", "residual relu"), depths=(1, 20))
    found = _parsed(settings.ComparisonSettings, "--learning_rates=0.1,1e-3")
    assert found == settings.ComparisonSettings(learning_rates=(0.1, 0.001))


REGRET, COMPARISON = settings.RegretSettings, settings.ComparisonSettings
SHATTERING = settings.ShatteringSettings


@pytest.mark.parametrize(
    ("kind", "argument", "message"),
    [
        (REGRET, "--task=nope", "digits_classifier"),
        (REGRET, "--optimizers=nope", "unknown optimizer 'nope'"),
        (REGRET, "--optimizers=sgd,sgd", "listed twice"),
        (REGRET, "--optimizers=", "no optimizer given"),
        (REGRET, "--epochs=0", "positive integer"),
        (REGRET, "--max_steps=-3", "positive integer"),
        (REGRET, "--burn_in=-1", "non-negative integer"),
        (REGRET, "--recorded_rounds=0", "positive integer"),
        (REGRET, "--horizons=0", "positive integer"),
        (REGRET, "--max_passes=0", "positive integer"),
        (REGRET, "--tolerance=0", "positive number"),
        (REGRET, "--tolerance=inf", "positive number"),
        (REGRET, "--radius=0", "positive number"),
        (REGRET, "--radius=nan", "positive number"),
        (REGRET, "--seed=-1", r"\[0, 4294967295\]"),
        (REGRET, "--seed=4294967296", r"\[0, 4294967295\]"),
        (COMPARISON, "--seeds=0", "positive integer"),
        (COMPARISON, "--learning_rates=0", "positive number"),
        (COMPARISON, "--learning_rates=0.1,fast", "fast"),
        (COMPARISON, "--workers=0", "positive integer"),
        (COMPARISON, "--extensions=-1", "non-negative integer"),
        (COMPARISON, "--strategy=magic", "mirrored"),
        (COMPARISON, "--learning_rates=0.1,1e-1", "0.1 is listed twice"),
        (REGRET, "--parts=", "the list is empty"),
        (SHATTERING, "--kinds=", "the list is empty"),
        (SHATTERING, "--depths=2,3,2", "2 is listed twice"),
        (SHATTERING, "--kinds=cubic", "linear"),
        (SHATTERING, "--depths=1,0", "positive integer"),
        (SHATTERING, "--points=1", "2"),
        (settings.ReproductionSettings, "--preset=huge", "quick"),
    ],
)
def test_mistakes_name_the_flag_and_what_was_expected(kind, argument, message):
    with pytest.raises(absl_flags.Error, match=message) as caught:
        _parsed(kind, argument)
    assert argument.partition("=")[0].lstrip("-") in str(caught.value)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UsageError("--parts=x: unknown"), "error: --parts=x: unknown"),
        (DataNotFoundError("no mnist"), "error: no mnist"),
        (OSError(28, "No space left on device", "/out/x"), "No space left on device: '/out/x'"),
        (KeyboardInterrupt(), "interrupted: the same command goes on"),
    ],
)
def test_what_the_user_can_mend_ends_in_one_line(error, line):
    with pytest.raises(SystemExit, match=line) as caught, flags.one_line_errors():
        raise error
    assert "\n" not in str(caught.value)


def test_a_fault_of_the_program_is_no_mistake_of_the_user():
    with pytest.raises(ZeroDivisionError), flags.one_line_errors():
        raise ZeroDivisionError
