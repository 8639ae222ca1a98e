r"""The paper's claims on its tasks, from one command: what holds, with the evidence.

For each task of the preset: learning rates are tuned, the tuned optimizers' losses decomposed into
Taylor optimum and regret, and their exploration measured; then gradients are shattered. One report
says, claim by claim, what was found.

    python -m experiments.reproduce --preset=quick --output_dir=out/quick
    python -m experiments.reproduce --preset=paper --data_dir=~/tensorflow_datasets
    python -m experiments.reproduce --preset=paper --report_only --output_dir=experiments/results

On two cores `quick` (digits) takes eight minutes and `paper` (MNIST autoencoder, CIFAR-10 convnet)
about an hour. Expect the decomposition to tell why optimizers differ, rectifiers to shatter with
depth, and regret that grows faster than the square root of N. `experiments/results` holds what
`paper` gave.

Writes `report.html` (start there), `report.md`, `results.json` and, below, the directory of each
experiment, with logs that `tensorboard --logdir=<output_dir>` shows. Killed and run again, it goes
on where it stopped. `--report_only` makes the report of finished results again, without training.
"""

import dataclasses
import pathlib

import rich
from absl import flags as absl_flags

from experiments import (
    exploration,
    optimizer_comparison,
    presets,
    shattered_gradients,
    taylor_regret,
)
from experiments.reports import reproduction_report
from experiments.runs import flags, results
from experiments.runs.errors import UsageError
from experiments.tasks import rates

EXPERIMENT = "reproduce"
SHATTERING, RESULTS = "shattering", "results.json"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the binary was asked to do."""

    preset: str = "quick"
    seed: int = 0
    workers: int = 1
    data_dir: str | None = None
    output_dir: str | None = None
    report_only: bool = False

    @property
    def directory(self):
        """Where all results lie."""
        return pathlib.Path(self.output_dir or pathlib.Path("out", EXPERIMENT, self.preset))

    @property
    def plans(self):
        """The plans of the preset's tasks."""
        return presets.PRESETS[self.preset]


def main(settings):
    """Runs what is not done yet, and writes the report; returns the directory."""
    directory = settings.directory
    if not settings.report_only:
        _run(settings, directory)
    configuration = _read(directory / results.CONFIGURATION)
    parts = {
        plan["task"]: _read_task(directory / plan["task"], plan) for plan in configuration["tasks"]
    }
    shattering = _read(directory / SHATTERING / RESULTS)
    reproduction_report.write(directory, parts, shattering, configuration)
    rich.print(f"Report: {directory / 'report.html'}")
    return directory


def _run(settings, directory):
    configuration = {
        "experiment": EXPERIMENT,
        "preset": settings.preset,
        "seed": settings.seed,
        "tasks": [dataclasses.asdict(plan) for plan in settings.plans],
        "shattering": presets.SHATTERING[settings.preset],
    }
    results.claim(directory, results.jsonable(configuration))
    for plan in settings.plans:
        _run_task(settings, plan)
    shattered_gradients.main(_shattering(settings))


def _run_task(settings, plan):
    rich.print(f"[bold]{plan.task}[/bold]: tuning")
    tuned = optimizer_comparison.main(_comparison(settings, plan))
    best = rates.best(results.read_json(tuned / "results.json")["grid"])
    choices = tuple(f"{name}:{rate}" for name, rate in best.items() if rate is not None)
    common = {
        "task": plan.task,
        "seed": settings.seed,
        "data_dir": settings.data_dir,
        "burn_in": plan.burn_in,
        "recorded_rounds": plan.recorded,
        "tolerance": plan.tolerance,
        "max_passes": plan.max_passes,
        # As many epochs as the rounds need.
        "epochs": 1000,
    }
    rich.print(f"[bold]{plan.task}[/bold]: decomposing")
    taylor_regret.main(
        flags.Settings(
            optimizers=choices,
            parts=plan.parts,
            counts=plan.counts,
            output_dir=str(settings.directory / plan.task / "decomposition"),
            **common,
        )
    )
    if plan.explored:
        rich.print(f"[bold]{plan.task}[/bold]: exploring")
        exploration.main(
            flags.SeedsSettings(
                # At its own rate: the step of a normalised gradient needs less tuning.
                optimizers=(*choices, "sgd_rms_normalized"),
                seeds=plan.seeds,
                max_steps=plan.burn_in + plan.recorded,
                output_dir=str(settings.directory / plan.task / "exploration"),
                **common,
            )
        )


def _comparison(settings, plan):
    return optimizer_comparison.Settings(
        task=plan.task,
        optimizers=plan.optimizers,
        factors=plan.factors,
        seeds=plan.seeds,
        seed=settings.seed,
        epochs=1000,
        max_steps=plan.steps,
        workers=settings.workers,
        data_dir=settings.data_dir,
        output_dir=str(settings.directory / plan.task / "comparison"),
    )


def _shattering(settings):
    return shattered_gradients.Settings(
        seed=settings.seed,
        data_dir=None,
        output_dir=str(settings.directory / SHATTERING),
        **presets.SHATTERING[settings.preset],
    )


def _read_task(directory, plan):
    names = ["comparison", "decomposition"] + (["exploration"] if plan["explored"] else [])
    return {name: _read(directory / name / RESULTS) for name in names}


def _read(path):
    try:
        return results.read_json(path)
    except FileNotFoundError as error:
        raise UsageError(f"{path.parent} holds no results: run without --report_only") from error


def check(settings):
    """Returns the settings if they make sense.

    Raises:
        UsageError: if they do not; the message names the flag.
    """
    if settings.preset not in presets.PRESETS:
        known = ", ".join(presets.PRESETS)
        raise UsageError(f"--preset={settings.preset}: expected one of {known}")
    if settings.workers < 1:
        raise UsageError(f"--workers={settings.workers}: expected at least 1")
    return settings


def settings_from_flags():
    """Returns the checked settings that the parsed flags describe."""
    names = [field.name for field in dataclasses.fields(Settings)]
    return check(Settings(**{name: getattr(absl_flags.FLAGS, name) for name in names}))


def define_flags():
    """Defines the flags, with the defaults of `Settings`."""
    default = Settings()
    absl_flags.DEFINE_string("preset", default.preset, f"One of {', '.join(presets.PRESETS)}.")
    absl_flags.DEFINE_integer("seed", default.seed, "The first seed.")
    absl_flags.DEFINE_integer("workers", 1, "Processes that tune at once on this machine.")
    absl_flags.DEFINE_string("data_dir", None, "Directory of prepared TensorFlow Datasets.")
    absl_flags.DEFINE_string("output_dir", None, "Directory of the results; out/... if unset.")
    absl_flags.DEFINE_bool("report_only", False, "Make the report of finished results again.")


if __name__ == "__main__":
    define_flags()
    flags.guard(lambda: main(settings_from_flags()))
