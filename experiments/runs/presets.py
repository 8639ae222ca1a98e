"""How large a reproduction is: the runs, rounds and measurements of each preset."""

import dataclasses

from experiments.runs.settings import ShatteringSettings
from experiments.tasks import rates

OPTIMIZERS = ("sgd", "momentum", "adagrad", "rmsprop", "adam")


@dataclasses.dataclass(frozen=True)
class TaskPlan:
    """The experiments on one task.

    Args:
        task: Name of the task.
        optimizers: The optimizers that are tuned.
        factors: Rates tried, as multiples of each optimizer's own.
        steps: Rounds of a run of the comparison.
        seeds: Seeds at the best rate, and of the exploration.
        burn_in: Rounds before the recorded ones.
        recorded: Rounds that are decomposed.
        tolerance: Gap of the optima.
        parts: What is decomposed.
        max_passes: Most passes of a solve.
        horizons: How many horizons are decomposed, log-spaced; 1 for all recorded rounds only.
        explored: Whether the task's exploration is measured.
    """

    task: str
    optimizers: tuple = OPTIMIZERS
    factors: tuple = rates.FACTORS
    steps: int = 880
    seeds: int = 3
    burn_in: int = 580
    recorded: int = 300
    tolerance: float = 0.01
    parts: tuple = ("network", "layers")
    horizons: int = 6
    max_passes: int = 100
    explored: bool = True


# Early in the run: later, losses are so small that a gap of a hundredth takes long to prove.
QUICK = (TaskPlan("digits_classifier", steps=440, burn_in=88, recorded=150, horizons=4),)
PAPER = (
    TaskPlan("mnist_autoencoder", steps=1200, burn_in=900, horizons=3),
    TaskPlan(
        "cifar10_convnet",
        optimizers=("sgd", "rmsprop", "adam"),
        factors=(10**-0.5, 1.0, 10**0.5, 10.0),
        steps=390,
        burn_in=360,
        recorded=30,
        tolerance=0.05,
        parts=("network", "layer:dense_192", "layer:logits"),
        horizons=3,
        explored=False,
    ),
)
PRESETS = {"quick": QUICK, "paper": PAPER}
SHATTERING = {
    "quick": {"depths": (1, 2, 5, 10, 20), "lines": 4, "points": 64, "seeds": 2},
    "paper": {
        name: getattr(ShatteringSettings(), name) for name in ("depths", "lines", "points", "seeds")
    },
}
