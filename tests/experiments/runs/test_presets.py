"""Tests of the sizes of reproductions: that their names are known and their rounds fit."""

import dataclasses

import pytest

from experiments.runs import presets
from experiments.runs.settings import ShatteringSettings
from experiments.tasks import optimizers, tasks

PLANS = [plan for plans in presets.PRESETS.values() for plan in plans]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.task)
def test_tasks_and_optimizers_are_known(plan):
    assert plan.task in tasks.TASKS
    assert [choice.label for choice in optimizers.parse_all(plan.optimizers)]
    assert len(set(plan.factors)) == len(plan.factors)
    assert 1.0 in plan.factors


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.task)
def test_horizons_are_enough_for_a_rate(plan):
    assert plan.horizons >= 3
    assert plan.recorded >= 10


def test_both_presets_have_a_shattering_of_settings_that_exist():
    assert set(presets.SHATTERING) == set(presets.PRESETS)
    fields = {field.name for field in dataclasses.fields(ShatteringSettings)}
    for options in presets.SHATTERING.values():
        assert set(options) <= fields


def test_the_paper_uses_the_defaults_of_shattering():
    default = ShatteringSettings()
    for name, value in presets.SHATTERING["paper"].items():
        assert value == getattr(default, name)
