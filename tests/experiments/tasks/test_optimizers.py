"""Tests of the table of optimizers."""

import pytest

from experiments.tasks import optimizers
from experiments.tasks.errors import UsageError


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_entry_builds_with_its_rate(name):
    choice = optimizers.parse(name)
    assert choice.label == name
    rate = float(choice.build().learning_rate)
    assert rate == pytest.approx(optimizers.OPTIMIZERS[name].learning_rate)


def test_momentum_is_nine_tenths():
    assert optimizers.parse("momentum").build().momentum == 0.9


def test_rate_behind_a_colon():
    choice = optimizers.parse("sgd:0.25")
    assert float(choice.build().learning_rate) == 0.25
    assert choice.label == "sgd:0.25"


def test_spelling_out_the_default_rate_changes_nothing():
    assert optimizers.parse(" sgd:1e-2 ").label == "sgd"


def test_unknown_name_lists_the_known():
    with pytest.raises(UsageError, match="unknown optimizer 'sdg'.*sgd.*lion"):
        optimizers.parse("sdg")


@pytest.mark.parametrize("text", ["sgd:", "sgd:fast", "sgd:0", "sgd:-1", "sgd:nan", "sgd:inf"])
def test_rate_that_is_no_positive_number(text):
    with pytest.raises(UsageError, match="expected a positive number"):
        optimizers.parse(text)


def test_repeated_and_missing_optimizers():
    with pytest.raises(UsageError, match="twice"):
        optimizers.parse_all(["sgd", "adam", "sgd:0.01"])
    with pytest.raises(UsageError, match="no optimizer"):
        optimizers.parse_all([])
