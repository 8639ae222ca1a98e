r"""Does exploring more activation configurations go with a lower Taylor optimum and loss?

Trains a task with several optimizers and seeds, takes twenty snapshots of a run's activations on
fixed inputs, and solves for the Taylor optimum of the last rounds. One table says how much each
optimizer explored and where it ended, another whether more exploration went with a lower optimum
and loss.

    python -m experiments.exploration --output_dir=out/exploration
    python -m experiments.exploration --task=mnist_autoencoder --burn_in=900 --seeds=3 \
        --data_dir=~/tensorflow_datasets --output_dir=out/exploration_mnist

On two cores the digits take two minutes for five optimizers and three seeds, the autoencoder about
eight. Expect RMS-normalised SGD, RMSprop and Adam to switch more rectifiers than plain SGD on the
digits, and fewer on the autoencoder; with five optimizers, a rank correlation says little.

Writes `report.html`, `results.json`, `exploration.csv`, plots as PNG, and, during training,
`tensorboard/`. A second start with the same `--output_dir` skips the runs that are done.
"""

import functools

import rich

from experiments.analysis import exploration_summary
from experiments.reports import exploration_report, formatting, report
from experiments.runs import event_logs, exploring, flags, results, run_files, training
from experiments.runs.settings import ExplorationSettings
from experiments.tasks import tasks

EXPERIMENT = "exploration"


def main(settings):
    """Trains with each optimizer and seed and writes all results; returns their directory."""
    configuration = settings.configuration(EXPERIMENT)
    task = tasks.get(settings.task)
    examples = tasks.examples(task, settings.data_dir)
    plan = training.plan_of(task, examples, settings)
    directory = results.claim(settings.output_path(EXPERIMENT), configuration)
    runs = [
        _run(directory, task, examples, choice, seed, plan, settings)
        for choice in settings.choices()
        for seed in settings.run_seeds()
    ]
    write(directory, runs, configuration, plan)
    return directory


def _run(directory, task, examples, choice, seed, plan, settings):
    name = f"{choice.label.replace(':', '_')}_{seed}"
    explore = functools.partial(
        exploring.explore,
        task,
        examples,
        choice,
        seed,
        plan=plan,
        path=directory / "trajectories" / name,
        tolerance=settings.tolerance,
        max_passes=settings.max_passes,
        log_dir=directory / event_logs.DIRECTORY / name,
    )
    path = directory / "runs" / f"{name}.json"
    return run_files.run_once(path, explore, f"{choice.label} {seed}")


def write(directory, runs, configuration, plan):
    """Writes numbers, pictures and the report of finished runs, and prints the tables."""
    summary = exploration_summary.summarize(runs)
    results.write_json(
        directory / "results.json",
        {"configuration": configuration, "summary": summary, "runs": runs},
    )
    rows = (row for run in runs for row in exploration_summary.long_rows(run))
    results.write_csv(directory / "exploration.csv", exploration_summary.COLUMNS, rows)
    title = f"Exploration: {configuration['task']}"
    formatting.print_table(title, *exploration_report.means_table(summary))
    formatting.print_table(
        "Does more exploration go with", *exploration_report.claim_table(summary)
    )
    for note in exploration_report.notes(runs):
        rich.print(note)
    report.write(
        directory / "report.html",
        title,
        f"{plan.burn_in} rounds of burn-in and {plan.recorded} recorded, {configuration['seeds']} "
        f"seeds from {configuration['seed']} on.",
        [
            *exploration_report.sections(runs, summary),
            *report.provenance(configuration, runs[0]["environment"]),
        ],
    )
    rich.print(f"Report: {directory / 'report.html'}")


if __name__ == "__main__":
    flags.run_binary(main, ExplorationSettings())
