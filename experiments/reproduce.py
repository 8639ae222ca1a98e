r"""The paper's claims on its tasks, from one command: what holds, with the evidence.

For each task of the preset: learning rates are tuned, the tuned optimizers' losses decomposed into
Taylor optimum and regret, and their exploration measured; then the shattering of gradients is
measured. One report gives the verdict on each claim.

    python -m experiments.reproduce --preset=quick --output_dir=out/quick
    python -m experiments.reproduce --preset=paper --data_dir=~/tensorflow_datasets
    python -m experiments.reproduce --preset=paper --report_only \
        --output_dir=experiments/results/paper

On two cores `quick` (digits) takes about five minutes, and `paper` (MNIST autoencoder, CIFAR-10
convnet) about an hour. Expect the decomposition to say why optimizers differ, gradients of
rectifiers to shatter with depth, and regret that grows faster than the square root of N. The
results of `paper` are in `experiments/results`.

Writes `report.html` (start there), `report.md`, `results.json` and, below, the directory of each
experiment, with logs that `tensorboard --logdir=<output_dir>` shows. After an interruption, a
second start continues. `--report_only` makes the report of finished results again, without
training. `--condensed_dir` names a directory for a copy of a few MB.
"""

import dataclasses
import pathlib

import rich

from experiments import exploration, optimizer_comparison, shattered_gradients, taylor_regret
from experiments.reports import reproduction_report
from experiments.runs import condensing, flags, presets, results
from experiments.runs.settings import (
    ComparisonSettings,
    ExplorationSettings,
    RegretSettings,
    ReproductionSettings,
    ShatteringSettings,
)
from experiments.tasks import datasets, rates, tasks
from experiments.tasks.errors import UsageError

EXPERIMENT = "reproduce"
SHATTERING, RESULTS = "shattering", "results.json"


def main(settings):
    """Runs all experiments that are not done yet and writes the report; returns the directory."""
    directory = settings.output_path(EXPERIMENT)
    if not settings.report_only:
        _run(settings, directory)
    _report(directory)
    if settings.condensed_dir:
        condensing.condense(directory, settings.condensed_dir)
        _report(pathlib.Path(settings.condensed_dir))
    return directory


def _report(directory):
    configuration = results.read_finished(directory / results.CONFIGURATION)
    if configuration.get("experiment") != EXPERIMENT:
        raise UsageError(f"{directory} holds no reproduction, which --report_only needs")
    by_task = {
        plan["task"]: _read_task(directory / plan["task"], plan) for plan in configuration["tasks"]
    }
    shattering = results.read_finished(directory / SHATTERING / RESULTS)
    reproduction_report.write(directory, by_task, shattering, configuration)
    rich.print(f"Report: {directory / 'report.html'}")


def _run(settings, directory):
    configuration = {
        "experiment": EXPERIMENT,
        "preset": settings.preset,
        "seed": settings.seed,
        "tasks": [dataclasses.asdict(plan) for plan in presets.PRESETS[settings.preset]],
        "shattering": presets.SHATTERING[settings.preset],
    }
    _check_data(settings)
    results.claim(directory, results.jsonable(configuration))
    for plan in presets.PRESETS[settings.preset]:
        _run_task(settings, plan, directory / plan.task)
    shattered_gradients.main(_shattering(settings, directory))


def _check_data(settings):
    """Prepares the data of all tasks, so that none is found missing after hours of another."""
    names = [plan.task for plan in presets.PRESETS[settings.preset]]
    for name in (*names, shattered_gradients.TASK):
        datasets.prepared(tasks.get(name).dataset, settings.data_dir)


def _choices(tuned):
    """Returns the optimizers at their best rates, without those that diverged at every rate."""
    best = rates.best(tuned["grid"])
    return tuple(f"{name}:{rate}" for name, rate in best.items() if rate is not None)


def _run_task(settings, plan, directory):
    rich.print(f"[bold]{plan.task}[/bold]: tuning")
    tuned = optimizer_comparison.main(_comparison(settings, plan, directory))
    choices = _choices(results.read_json(tuned / RESULTS))
    if not choices:
        rich.print(f"{plan.task}: every rate of every optimizer diverged, nothing to decompose")
        return
    common = {
        "task": plan.task,
        "seed": settings.seed,
        "data_dir": settings.data_dir,
        "sample": plan.sample,
        "examples": plan.examples,
        "tolerance": plan.tolerance,
        "max_passes": plan.max_passes,
        # As many epochs as the rounds need.
        "epochs": 1000,
    }
    rich.print(f"[bold]{plan.task}[/bold]: decomposing")
    for name, window in _windows(plan).items():
        taylor_regret.main(
            RegretSettings(
                optimizers=choices,
                horizons=plan.horizons,
                comparators=plan.comparators,
                recorded_rounds=plan.burn_in + plan.recorded - window["burn_in"],
                output_dir=str(directory / name),
                **window,
                **common,
            )
        )
    if plan.explored:
        rich.print(f"[bold]{plan.task}[/bold]: exploring")
        exploration.main(
            ExplorationSettings(
                # At its own rate, since the movement of a normalised gradient needs less tuning.
                optimizers=(*choices, "sgd_rms_normalized"),
                seeds=plan.explored_seeds,
                burn_in=plan.burn_in,
                recorded_rounds=plan.recorded,
                max_steps=plan.burn_in + plan.recorded,
                output_dir=str(directory / "exploration"),
                **common,
            )
        )


def _windows(plan):
    """Returns the decompositions of a task: the rounds before each, its parts and units."""
    whole = {"burn_in": plan.burn_in, "parts": plan.parts, "units": plan.units}
    if not plan.from_middle:
        return {"decomposition": whole}
    middle = plan.burn_in + plan.recorded // 2
    second = {"burn_in": middle, "parts": plan.from_middle, "units": 0}
    return {"decomposition": whole, presets.FROM_MIDDLE: second}


def _comparison(settings, plan, directory):
    return ComparisonSettings(
        task=plan.task,
        optimizers=plan.optimizers,
        factors=plan.factors,
        seeds=plan.seeds,
        seed=settings.seed,
        epochs=1000,
        max_steps=plan.steps,
        workers=settings.workers,
        data_dir=settings.data_dir,
        output_dir=str(directory / "comparison"),
    )


def _shattering(settings, directory):
    return ShatteringSettings(
        seed=settings.seed,
        data_dir=settings.data_dir,
        output_dir=str(directory / SHATTERING),
        **presets.SHATTERING[settings.preset],
    )


def _read_task(directory, plan):
    found = {"comparison": results.read_finished(directory / "comparison" / RESULTS)}
    # Where every rate diverged, the comparison is all that there is.
    names = ["decomposition"] if _choices(found["comparison"]) else []
    # Results from before there was a second window have no word on it.
    names += [presets.FROM_MIDDLE] if names and plan.get("from_middle") else []
    names += ["exploration"] if names and plan["explored"] else []
    return found | {name: results.read_finished(directory / name / RESULTS) for name in names}


if __name__ == "__main__":
    flags.run_binary(main, ReproductionSettings())
