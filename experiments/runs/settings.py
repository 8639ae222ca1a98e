"""What each binary was asked to do. `None` means that the binary decides."""

import dataclasses
import pathlib

from experiments.runs import readings
from experiments.tasks import optimizers, rates, shattering_networks, tasks
from experiments.tasks.errors import UsageError


@dataclasses.dataclass(frozen=True)
class TaskSettings:
    """The base of all settings of binaries that train a task with several optimizers."""

    task: str = "digits_classifier"
    optimizers: tuple = ("sgd", "rmsprop", "adam")
    epochs: int | None = None
    max_steps: int | None = None
    seed: int = 0
    data_dir: str | None = None
    output_dir: str | None = None

    def output_path(self, experiment):
        """The directory of the results, by default `out/<experiment>/<task>`."""
        return pathlib.Path(self.output_dir or pathlib.Path("out", experiment, self.task))

    def choices(self):
        """The optimizers as `experiments.tasks.optimizers.Choice`."""
        return optimizers.parse_all(self.optimizers)

    def resolved_epochs(self):
        """The number of epochs, which defaults to the task's."""
        return tasks.get(self.task).epochs if self.epochs is None else self.epochs

    def configuration(self, experiment):
        """Everything that determines the results: not where the data and the results are."""
        return {
            "experiment": experiment,
            "task": self.task,
            "optimizers": [choice.label for choice in self.choices()],
            "learning_rates": [choice.learning_rate for choice in self.choices()],
            "epochs": self.resolved_epochs(),
            "max_steps": self.max_steps,
            "seed": self.seed,
        }


@dataclasses.dataclass(frozen=True)
class RecordedSettings(TaskSettings):
    """The base of the settings of binaries that record rounds and solve for their optimum."""

    burn_in: int | None = None
    recorded_rounds: int | None = None
    sample: int | None = None
    examples: int | None = None
    tolerance: float = 0.01
    max_passes: int | None = None

    def configuration(self, experiment):
        """Everything that determines the results."""
        names = ("burn_in", "recorded_rounds", "sample", "examples", "tolerance", "max_passes")
        return super().configuration(experiment) | {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class RegretSettings(RecordedSettings):
    """Settings of `experiments.taylor_regret`."""

    parts: tuple = ("network", "layers")
    horizons: int = 5
    units: int = 2
    radius: float | None = None
    keep_trajectories: bool = False
    comparators: tuple = readings.COMPARATORS

    def configuration(self, experiment):
        """Everything that determines the results."""
        own = {name: getattr(self, name) for name in ("horizons", "units", "radius")}
        own["parts"] = list(self.parts)
        if self.comparators != readings.COMPARATORS:
            own["comparators"] = list(self.comparators)
        return super().configuration(experiment) | own


class _Seeds:
    """The seeds of a binary that trains every optimizer several times."""

    def run_seeds(self):
        """The seeds, from `seed` on."""
        return range(self.seed, self.seed + self.seeds)


@dataclasses.dataclass(frozen=True)
class ExplorationSettings(RecordedSettings, _Seeds):
    """Settings of `experiments.exploration`."""

    optimizers: tuple = ("sgd", "sgd_rms_normalized", "momentum", "rmsprop", "adam")
    seeds: int = 3

    def configuration(self, experiment):
        """Everything that determines the results."""
        return super().configuration(experiment) | {"seeds": self.seeds}


@dataclasses.dataclass(frozen=True)
class ComparisonSettings(TaskSettings, _Seeds):
    """Settings of `experiments.optimizer_comparison`; `factors` has no flag."""

    optimizers: tuple = ("sgd", "momentum", "adagrad", "rmsprop", "adam")
    seeds: int = 3
    learning_rates: tuple = ()
    factors: tuple = rates.FACTORS
    extensions: int = 3
    workers: int = 1
    ray_address: str | None = None
    strategy: str | None = None

    def __post_init__(self):
        for name in self.optimizers:
            if ":" in name:
                raise UsageError(
                    f"--optimizers={name}: rates are tuned; set --learning_rates instead"
                )

    def configuration(self, experiment):
        """Everything that determines the results, which the number of workers does not."""
        return super().configuration(experiment) | {
            "seeds": self.seeds,
            "grid": list(self.learning_rates),
            "factors": list(self.factors),
            "extensions": self.extensions,
            # Under a strategy, the initial weights are drawn differently.
            "strategy": self.strategy,
        }

    def rates_of(self, name):
        """The rates to try for an optimizer."""
        own = optimizers.OPTIMIZERS[name].learning_rate
        return list(map(rates.rounded, self.learning_rates or [own * f for f in self.factors]))


@dataclasses.dataclass(frozen=True)
class RateAdviceSettings(TaskSettings, _Seeds):
    """Settings of `experiments.rate_advice`; `factors` has no flag."""

    optimizers: tuple = tuple(optimizers.OPTIMIZERS)
    seeds: int = 3
    # A factor more than usual, so that the best rate of plain SGD is not an end.
    factors: tuple = (*rates.FACTORS, 100.0)

    def configuration(self, experiment):
        """Everything that determines the results."""
        return super().configuration(experiment) | {
            "seeds": self.seeds,
            "factors": list(self.factors),
        }

    def rates_of(self, choice):
        """The rates to try for an `experiments.tasks.optimizers.Choice`."""
        return [rates.rounded(choice.learning_rate * factor) for factor in self.factors]


@dataclasses.dataclass(frozen=True)
class ShatteringSettings(_Seeds):
    """Settings of `experiments.shattered_gradients`."""

    kinds: tuple = tuple(shattering_networks.KINDS)
    depths: tuple = (1, 2, 5, 10, 20, 50)
    width: int = 100
    lines: int = 6
    points: int = 128
    seeds: int = 3
    seed: int = 0
    data_dir: str | None = None
    output_dir: str | None = None

    def output_path(self, experiment):
        """The directory of the results, by default `out/<experiment>`."""
        return pathlib.Path(self.output_dir or pathlib.Path("out", experiment))

    def configuration(self, experiment):
        """Everything that determines the results."""
        names = ("kinds", "depths", "width", "lines", "points", "seeds", "seed")
        return {"experiment": experiment} | {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class ReproductionSettings:
    """Settings of `experiments.reproduce`."""

    preset: str = "quick"
    seed: int = 0
    workers: int = 1
    data_dir: str | None = None
    output_dir: str | None = None
    report_only: bool = False
    condensed_dir: str | None = None

    def output_path(self, experiment):
        """The directory of all results, by default `out/<experiment>/<preset>`."""
        return pathlib.Path(self.output_dir or pathlib.Path("out", experiment, self.preset))
