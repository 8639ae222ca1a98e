"""Tests of the rounds at which something is read."""

import pytest

from experiments.runs import rounds
from experiments.tasks.errors import UsageError


@pytest.mark.parametrize("total", [1, 2, 3, 10, 999, 100_000])
@pytest.mark.parametrize("spaced", [rounds.log_spaced, rounds.linearly_spaced])
def test_rounds_increase_within_the_run_and_reach_its_end(spaced, total):
    chosen = spaced(total, 20)
    assert chosen == sorted(set(chosen))
    assert chosen[0] >= 1
    assert chosen[-1] == total
    assert len(chosen) <= 20


def test_short_runs_are_read_at_every_round():
    assert rounds.log_spaced(3, 60) == [1, 2, 3]
    assert rounds.linearly_spaced(3, 3) == [1, 2, 3]


def test_linear_windows_are_equally_long():
    assert rounds.linearly_spaced(100, 4) == [25, 50, 75, 100]


def test_total_steps():
    assert rounds.total_steps(44, 20) == 880
    assert rounds.total_steps(44, 20, max_steps=100) == 100
    assert rounds.total_steps(44, 1, max_steps=100) == 44


@pytest.mark.parametrize(
    ("total", "burn_in", "recorded", "expected"),
    [
        (880, None, None, (580, 300)),
        (100, None, None, (0, 100)),
        (880, 100, None, (100, 300)),
        (120, 100, None, (100, 20)),
        (880, None, 50, (830, 50)),
        (880, 10, 50, (10, 50)),
    ],
)
def test_plan(total, burn_in, recorded, expected):
    assert rounds.plan(total, burn_in, recorded) == rounds.Plan(*expected)


@pytest.mark.parametrize(("burn_in", "recorded"), [(100, None), (None, 101), (60, 50)])
def test_plan_of_too_short_a_run(burn_in, recorded):
    with pytest.raises(UsageError, match="need more rounds than the 100"):
        rounds.plan(100, burn_in, recorded)


def test_a_sample_that_is_too_small_is_refused_before_training():
    assert rounds.plan(100, sample=4).sample == 4
    with pytest.raises(UsageError, match="--sample=3: 3 of 100 rounds are too few"):
        rounds.plan(100, sample=3)
    with pytest.raises(UsageError, match="too few"):
        rounds.plan(3, sample=10, examples=2)
