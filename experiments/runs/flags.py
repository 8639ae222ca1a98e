"""Command-line flags of the binaries that train, and the settings that they become."""

import dataclasses
import pathlib
import sys

from absl import app, flags, logging

from experiments.runs import rounds
from experiments.runs.errors import DataNotFoundError, UsageError
from experiments.tasks import optimizers, tasks


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a binary was asked to do. `None` means: decide for me."""

    task: str = "digits_classifier"
    optimizers: tuple = ("sgd", "rmsprop", "adam")
    epochs: int | None = None
    max_steps: int | None = None
    burn_in: int | None = None
    recorded_rounds: int | None = None
    tolerance: float = 0.01
    parts: tuple = ("network", "layers")
    counts: int = 5
    max_passes: int | None = None
    seed: int = 0
    radius: float | None = None
    data_dir: str | None = None
    output_dir: str | None = None
    keep_trajectories: bool = False

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
        """What determines the results: all settings except for where data and results lie."""
        return {
            "experiment": experiment,
            "task": self.task,
            "optimizers": [choice.label for choice in self.choices()],
            "learning_rates": [choice.learning_rate for choice in self.choices()],
            "epochs": self.resolved_epochs(),
            "max_steps": self.max_steps,
            "burn_in": self.burn_in,
            "recorded_rounds": self.recorded_rounds,
            "seed": self.seed,
            "radius": self.radius,
            "tolerance": self.tolerance,
            "parts": list(self.parts),
            "counts": self.counts,
            "max_passes": self.max_passes,
        }


@dataclasses.dataclass(frozen=True)
class SeedsSettings(Settings):
    """Settings of a binary that runs every optimizer with several seeds."""

    seeds: int = 3

    def configuration(self, experiment):
        """What determines the results."""
        return super().configuration(experiment) | {"seeds": self.seeds}

    def run_seeds(self):
        """The seeds: so many, from `seed` on."""
        return range(self.seed, self.seed + self.seeds)


def define_flags(default=None):
    """Defines the flags that `settings_from_flags` reads. Calling it again changes nothing.

    Args:
        default: A `Settings` with the binary's defaults.
    """
    if "task" in flags.FLAGS:
        return
    default = default or Settings()
    if isinstance(default, SeedsSettings):
        flags.DEFINE_integer("seeds", default.seeds, "Runs of each optimizer, from --seed on.")
    flags.DEFINE_string("task", default.task, f"One of {', '.join(tasks.TASKS)}.")
    flags.DEFINE_list(
        "optimizers",
        list(default.optimizers),
        f"Any of {', '.join(optimizers.OPTIMIZERS)}; name:rate sets a learning rate.",
    )
    flags.DEFINE_integer("epochs", None, "Passes over the data; the task's own number if unset.")
    flags.DEFINE_integer("max_steps", None, "Stop after this many rounds.")
    flags.DEFINE_integer(
        "burn_in", None, "Rounds before the recorded ones; if unset, these are the last of the run."
    )
    flags.DEFINE_integer(
        "recorded_rounds", None, f"Rounds to decompose; {rounds.RECORDED} if unset."
    )
    flags.DEFINE_float("tolerance", default.tolerance, "Gap of the optima, relative to the value.")
    flags.DEFINE_integer("seed", default.seed, "Seed of the weights and of the order of the data.")
    flags.DEFINE_float(
        "radius", None, "Radius of the comparators; by default the distance travelled."
    )
    flags.DEFINE_list(
        "parts", list(default.parts), "Parts to decompose: network, layers, layer:<key>, ..."
    )
    flags.DEFINE_integer("counts", default.counts, "Numbers of rounds to decompose, log-spaced.")
    flags.DEFINE_integer(
        "max_passes", None, "Most passes of a solve; its interval is valid, but may stay wide."
    )
    flags.DEFINE_string("data_dir", None, "Directory of prepared TensorFlow Datasets.")
    flags.DEFINE_string("output_dir", None, "Directory of the results; out/... if unset.")
    flags.DEFINE_bool(
        "keep_trajectories", False, "Keep the recorded rounds beside the results (large)."
    )


def settings_from_flags(kind=Settings):
    """Returns the checked settings, of a class, that the parsed flags describe."""
    names = [field.name for field in dataclasses.fields(kind)]
    values = {name: getattr(flags.FLAGS, name) for name in names}
    lists = {name: tuple(values[name]) for name in ("optimizers", "parts")}
    return check(kind(**values | lists))


def check(settings):
    """Returns the settings if they make sense.

    Raises:
        UsageError: if they do not; the message names the flag.
    """
    tasks.get(settings.task)
    settings.choices()
    for name in (
        "epochs",
        "max_steps",
        "radius",
        "recorded_rounds",
        "tolerance",
        "seeds",
        "counts",
        "max_passes",
    ):
        value = getattr(settings, name, None)
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{name}={value}: expected a positive number")
    if settings.burn_in is not None and settings.burn_in < 0:
        raise UsageError(f"--burn_in={settings.burn_in}: expected zero or a positive number")
    if not 0 <= settings.seed < 2**32:
        raise UsageError(f"--seed={settings.seed}: expected a number from 0 to 2**32 - 1")
    return settings


def run_binary(main, default=None):
    """Runs `main(settings)` on the flags; mistakes in flags and folders end in one line.

    Args:
        main: Function of the settings.
        default: A `Settings` with the binary's defaults.
    """
    default = default or Settings()
    define_flags(default)
    guard(lambda: main(settings_from_flags(type(default))))


def guard(run):
    """Runs a function once the flags are parsed; mistakes of the user end in one line."""

    def guarded(arguments):
        if not flags.FLAGS["verbosity"].present:
            # TensorFlow Datasets logs each read; what matters is said in tables and errors.
            logging.set_verbosity(logging.ERROR)
        try:
            if len(arguments) > 1:
                raise UsageError(f"unexpected argument {arguments[1]!r}: flags start with --")
            run()
        except (UsageError, DataNotFoundError) as error:
            sys.exit(f"error: {error}")

    app.run(guarded)
