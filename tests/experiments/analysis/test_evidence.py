"""Tests of what several pieces of evidence say together."""

from experiments.analysis import estimates
from experiments.analysis.evidence import counted, together

HOLDS, FAILS, UNDECIDED = estimates.HOLDS, estimates.FAILS, estimates.UNDECIDED


def test_together():
    assert together([HOLDS, HOLDS, "control"]) == HOLDS
    assert together([HOLDS, FAILS]) == together([FAILS]) == FAILS
    assert together([HOLDS, FAILS, UNDECIDED]) == UNDECIDED
    assert together([FAILS] * 2 + [HOLDS] * 12 + ["control"]) == FAILS
    assert together([FAILS] * 2 + [HOLDS] * 13) == UNDECIDED
    assert together([HOLDS, UNDECIDED]) == UNDECIDED


def test_counted():
    assert counted([HOLDS, FAILS, HOLDS]) == "2 holds, 1 does not hold"
    assert counted([]) == ""
