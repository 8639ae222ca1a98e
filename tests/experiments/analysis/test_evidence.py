"""Tests of what several pieces of evidence say together."""

import numpy as np

from experiments.analysis import estimates
from experiments.analysis.evidence import counted, together

HOLDS, FAILS, UNDECIDED = estimates.HOLDS, estimates.FAILS, estimates.UNDECIDED


def test_together():
    assert together([HOLDS, HOLDS, "control"]) == HOLDS
    assert together([HOLDS, FAILS]) == together([FAILS]) == FAILS
    assert together([HOLDS, FAILS, UNDECIDED]) == UNDECIDED
    assert together([FAILS] * 7 + [HOLDS] * 7 + ["control"]) == FAILS
    assert together([FAILS] * 7 + [HOLDS] * 8) == UNDECIDED
    assert together([HOLDS, UNDECIDED]) == UNDECIDED


def test_pieces_that_share_all_refute_by_chance_no_more_often_than_those_that_share_nothing():
    """All of ten pieces contrary together, in 2.5 % of draws, as well as each by itself."""
    generator = np.random.default_rng(0)
    alone = generator.random((4000, 10)) < 0.025
    for draws in (alone, alone[:, :1].repeat(10, axis=1)):
        verdicts = [together(np.where(draw, FAILS, HOLDS).tolist()) for draw in draws]
        assert verdicts.count(FAILS) <= 0.05 * len(draws)


def test_counted():
    assert counted([HOLDS, FAILS, HOLDS]) == "2 holds, 1 does not hold"
    assert counted([]) == ""
