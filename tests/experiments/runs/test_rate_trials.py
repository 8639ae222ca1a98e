"""Tests of training at many rates with one model."""

import math

import pytest

from experiments.runs import rate_trials


class _Scripted:
    """Answers in the place of a `Trainer`: a factor for each rate."""

    def __init__(self, factors):
        self.factors, self.asked = factors, []

    def train(self, rate, seed, whole=True):
        self.asked.append((rate, whole))
        return self.run(rate)

    def run(self, rate):
        factor = self.factors[rate]
        verdict = "fits" if factor == 1 else "raise"
        suggested = rate * factor
        found = {"learning_rate": rate, "seed": 0, "factor": factor, "verdict": verdict}
        return found | {"suggested_rate": suggested}


@pytest.mark.parametrize(
    ("factors", "rates", "asked"),
    [
        ({1.0: 1.0}, [], []),
        ({1.0: math.nan}, [], []),
        ({1.0: 10.0, 10.0: 1.0}, [10.0], [(10.0, False)]),
        ({1.0: 10.0, 10.0: 2.0, 20.0: 9.0}, [10.0, 20.0], [(10.0, False)]),
    ],
    ids=str,
)
def test_at_most_two_suggestions_are_followed(factors, rates, asked):
    trainer = _Scripted(factors)
    assert rate_trials.follow(trainer, trainer.run(1.0)) == rates
    assert trainer.asked == asked


@pytest.mark.parametrize(("piece", "most"), [(1, 1), (22, 22), (50, 25), (29, 1), (46, 23)])
def test_executions_divide_a_piece(piece, most):
    assert rate_trials.divisor(piece) == most


def test_runs_do_not_depend_on_those_before(data_dir):
    trainer = rate_trials.Trainer("digits_classifier", "adam", 840, data_dir)
    first = trainer.train(0.0003, 1)
    assert first["verdict"] == "raise"
    # The first piece of it diverges, and the whole eighth is run for its diagnosis.
    diverged = trainer.train(1e30, 0)
    assert diverged["diverged"]
    assert diverged["final_loss"] is None
    assert diverged["factor"] < 1
    assert trainer.train(0.0003, 1) == first
    eighth = trainer.train(0.0003, 1, whole=False)
    assert eighth == first | {"final_loss": None}
