r"""Loss = Taylor optimum + regret, for optimizers on a task: per network, layer and unit.

Trains the task from one initialisation with each optimizer, records rounds, solves for the Taylor
optimum of these rounds, and splits each optimizer's training loss into optimum and regret.

    python -m experiments.taylor_regret --output_dir=out/digits
    python -m experiments.taylor_regret --task=mnist_autoencoder --optimizers=sgd,adam:0.003 \
        --burn_in=900 --data_dir=~/tensorflow_datasets --output_dir=out/mnist
    python -m experiments.taylor_regret --task=mnist_autoencoder --epochs=20 --sample=600 \
        --units=1000 --data_dir=~/tensorflow_datasets --output_dir=out/whole

On two cores the digits take a little over a minute, the autoencoder some minutes an
optimizer, most of them for its layers. Expect SGD with a higher optimum and more regret than
RMSprop and Adam: plain steps leave more on the table and see worse landscapes.

With `--sample`, the whole run is looked at, by a random sample of its rounds: intervals are then
those that cover the optimum with a probability of 95 %.

Writes `report.html` (start there), `results.json`, `decomposition.csv`, `linear_regret.csv`, plots
as PNG, and, during training, `tensorboard/`. A second start with the same `--output_dir` skips the
optimizers that are done.
"""

import functools

import rich

from experiments.analysis import regret_summary
from experiments.reports import (
    formatting,
    regret_report,
    regret_tables,
    report,
)
from experiments.runs import event_logs, flags, results, run_files, training
from experiments.runs.settings import RegretSettings
from experiments.tasks import tasks
from keras_taylor.optimum import decomposition

EXPERIMENT = "taylor_regret"


def main(settings):
    """Trains with each optimizer of the settings and writes all results.

    Args:
        settings: An `experiments.runs.settings.RegretSettings`.

    Returns:
        The directory of the results.
    """
    configuration = settings.configuration(EXPERIMENT)
    task = tasks.get(settings.task)
    training.check_parts(task, settings.parts)
    examples = tasks.examples(task, settings.data_dir)
    plan = training.plan_of(task, examples, settings)
    directory = results.claim(settings.output_path(EXPERIMENT), configuration)
    train = functools.partial(
        training.train,
        task,
        examples,
        plan=plan,
        seed=settings.seed,
        radius=settings.radius,
        tolerance=settings.tolerance,
        parts=settings.parts,
        horizons=settings.horizons,
        units=settings.units,
        max_passes=settings.max_passes,
        keeps_trajectory=settings.keep_trajectories,
        comparators=settings.comparators,
    )
    runs = [_run(directory, choice, train) for choice in settings.choices()]
    _write(directory, runs, plan, configuration)
    return directory


def _run(directory, choice, train):
    name = choice.label.replace(":", "_")
    return run_files.run_once(
        directory / "runs" / f"{name}.json",
        lambda: train(
            choice,
            path=directory / "trajectories" / name,
            log_dir=directory / event_logs.DIRECTORY / name,
        ),
        choice.label,
    )


def _write(directory, runs, plan, configuration):
    summaries = [regret_summary.summarize(run, plan.recorded) for run in runs]
    _write_numbers(directory, runs, summaries, configuration)
    formatting.print_table(_title(configuration), *regret_tables.decomposition_table(summaries))
    rich.print("High regret: tune the step. High optimum: explore.\n")
    formatting.print_table("Do the steps fit?", *regret_tables.network_step_table(summaries))
    rich.print("Step ratio about 1 to 2: they do. Far above: too short. Below 1: too long.\n")
    formatting.print_table("What to do", *regret_tables.advice_table(summaries))
    for note in regret_report.notes(summaries):
        rich.print(note)
    report.write(
        directory / "report.html",
        _title(configuration),
        _lead(plan, configuration["seed"]),
        [
            *regret_report.sections(runs, summaries, plan.recorded),
            *report.provenance(configuration, runs[0]["environment"]),
        ],
    )
    rich.print(f"Report: {directory / 'report.html'}")


def _write_numbers(directory, runs, summaries, configuration):
    results.write_json(
        directory / "results.json",
        {"configuration": configuration, "summaries": summaries, "runs": runs},
    )
    rows = (row for run in runs for row in regret_summary.long_rows(run))
    results.write_csv(directory / "linear_regret.csv", regret_summary.COLUMNS, rows)
    rows = (row for run in runs for row in regret_summary.decomposition_rows(run))
    results.write_csv(directory / "decomposition.csv", ("optimizer", *decomposition.COLUMNS), rows)


def _lead(plan, seed):
    looked_at = f"{plan.recorded} rounds recorded"
    if plan.sample is not None:
        looked_at = f"{plan.recorded} rounds, of which a sample of {plan.sample} was kept,"
    return f"{looked_at} after {plan.burn_in} of burn-in, from one initialisation, seed {seed}."


def _title(configuration):
    return f"Loss = Taylor optimum + regret: {configuration['task']}"


if __name__ == "__main__":
    flags.run_binary(main, RegretSettings())
