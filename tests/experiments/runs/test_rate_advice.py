"""Tests of a case: all ways to choose a rate, with training that is scripted."""

import pytest

from experiments.runs import rate_advice
from experiments.tasks import optimizers


class _Valley:
    """The final loss is the distance to 1 in factors; advice is half of the way, as a factor."""

    def __init__(self):
        self.whole = []

    def train(self, rate, seed, whole=True):
        if whole:
            self.whole.append(rate)
        factor = (1 / rate) ** 0.5
        return {
            "learning_rate": rate,
            "seed": seed,
            "verdict": "fits" if factor == 1 else "raise",
            "factor": factor,
            "suggested_rate": rate * factor,
            "final_loss": max(rate, 1 / rate),
        }


def test_every_way_ends_in_a_whole_run_and_none_is_run_twice():
    trainer = _Valley()
    choice = optimizers.parse("sgd:0.0001")
    case = rate_advice.run(trainer, choice, [0.0001, 1.0], 3, lambda: {"range_minimum": 0.1})
    assert (case["optimizer"], case["seed"]) == ("sgd:0.0001", 3)
    far, fits = case["advised"]
    assert far["suggestions"] == pytest.approx([0.01, 0.1])
    assert far["final_loss"] == pytest.approx(10)
    assert fits == {"begin": 1.0, "suggestions": [], "final_loss": 1.0}
    assert case["others"]["default"] == {"learning_rate": 0.0001, "final_loss": 10_000}
    assert case["others"]["range_minimum"]["final_loss"] == 10
    assert len(set(trainer.whole)) == len(trainer.whole)
