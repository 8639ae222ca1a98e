"""How large a reproduction is: the runs, rounds and measurements of each preset."""

import dataclasses

from experiments.runs import readings
from experiments.runs.settings import ShatteringSettings
from experiments.tasks import rates

OPTIMIZERS = ("sgd", "momentum", "adagrad", "rmsprop", "adam")


# The directory of the decomposition of the second half of a run.
FROM_MIDDLE = "decomposition_from_middle"


@dataclasses.dataclass(frozen=True)
class TaskPlan:
    """The experiments on one task.

    Args:
        task: Name of the task.
        optimizers: The optimizers that are tuned.
        factors: Rates tried, as multiples of each optimizer's own.
        steps: Rounds of a run of the comparison.
        seeds: Seeds at the best rate.
        burn_in: Rounds before the recorded ones.
        recorded: Rounds after it.
        sample: How many of these are kept, as a random sample; `None` for all.
        examples: How many examples of each are kept; `None` for all.
        from_middle: What is decomposed of the second half of the run, by itself; nothing if empty.
        tolerance: Gap of the optima.
        parts: What is decomposed.
        max_passes: Most passes of a solve.
        horizons: How many horizons are decomposed, log-spaced; 1 for all recorded rounds only.
        units: How many units of each layer are decomposed, at the last horizon.
        comparators: Comparators whose exact Taylor losses are computed at each step.
        explored: Whether the task's exploration is measured.
        explored_seeds: Seeds of the exploration.
    """

    task: str
    optimizers: tuple = OPTIMIZERS
    factors: tuple = rates.FACTORS
    steps: int = 880
    seeds: int = 3
    burn_in: int = 580
    recorded: int = 300
    sample: int | None = None
    examples: int | None = None
    from_middle: tuple = ()
    tolerance: float = 0.01
    parts: tuple = ("network", "layers")
    horizons: int = 6
    max_passes: int = 100
    units: int = 2
    comparators: tuple = readings.COMPARATORS
    explored: bool = True
    explored_seeds: int = 3


# Early in the run: later, losses are so small that a gap of a hundredth takes long to prove.
QUICK = (TaskPlan("digits_classifier", steps=440, burn_in=88, recorded=150, horizons=4),)
# From the first round to the last: 20 epochs of MNIST, 10 of CIFAR-10.
PAPER = (
    TaskPlan(
        "mnist_autoencoder",
        # The grid grows beyond an end that is best.
        factors=(10**-0.5, 1.0, 10**0.5),
        steps=18_740,
        burn_in=0,
        recorded=18_740,
        sample=600,
        # The network's interval is too wide to tell how its regret grows, and takes longest.
        from_middle=("layers",),
        horizons=6,
        units=784,
        max_passes=60,
        explored_seeds=5,
    ),
    TaskPlan(
        "cifar10_convnet",
        optimizers=("sgd", "rmsprop", "adam"),
        factors=(10**-0.5, 1.0, 10**0.5, 10.0),
        steps=3_900,
        burn_in=0,
        recorded=3_900,
        sample=600,
        examples=16,
        tolerance=0.02,
        parts=("network", "layers"),
        units=0,
        comparators=(),
        horizons=5,
        max_passes=60,
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
