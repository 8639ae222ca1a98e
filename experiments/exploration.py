r"""Does exploring more activation configurations go with a lower Taylor optimum and loss?

Trains a task with several optimizers and seeds; a fixed probe is looked at twenty times a run, and
the Taylor optimum of the last rounds is solved for. One table says how much each optimizer
explored and where it ended, another whether more exploration went with a lower optimum and loss.

    python -m experiments.exploration --output_dir=out/exploration
    python -m experiments.exploration --task=mnist_autoencoder --burn_in=900 --seeds=3 \
        --data_dir=~/tensorflow_datasets --output_dir=out/exploration_mnist

On two cores the digits take two minutes for five optimizers and three seeds, the autoencoder about
eight. Expect RMS-normalised SGD, RMSprop and Adam to switch more rectifiers than plain SGD on the
digits, and fewer on the autoencoder; with five optimizers, a rank correlation says little.

Writes `report.html`, `results.json`, `exploration.csv`, plots as PNG, and `tensorboard/`, while it
trains. Run again with the same `--output_dir`, it skips the runs that are done.
"""

import rich

from experiments.reports import drawing, event_logs, exploration_report, formatting, report
from experiments.runs import exploring, flags, results, training
from experiments.tasks import tasks

EXPERIMENT = "exploration"
DEFAULT = flags.SeedsSettings(
    optimizers=("sgd", "sgd_rms_normalized", "momentum", "rmsprop", "adam")
)


def main(settings):
    """Runs each optimizer with each seed and writes all results; returns their directory."""
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
    path = directory / "runs" / f"{name}.json"
    if path.exists():
        rich.print(f"{choice.label} {seed}: already in {path}, skipped")
    else:
        run = exploring.explore(
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
        results.write_json(path, run | {"environment": results.environment()})
    return results.read_json(path)


def write(directory, runs, configuration, plan):
    """Writes numbers, pictures and the report of finished runs, and prints the tables."""
    summary = exploration_report.summarize(runs)
    results.write_json(
        directory / "results.json",
        {"configuration": configuration, "summary": summary, "runs": runs},
    )
    rows = (row for run in runs for row in exploration_report.long_rows(run))
    results.write_csv(directory / "exploration.csv", exploration_report.COLUMNS, rows)
    for name, draw in exploration_report.figures(runs, summary).items():
        drawing.write_png(draw(), directory / f"{name}.png")
    title = f"Exploration: {configuration['task']}"
    formatting.print_table(title, *exploration_report.means_table(summary))
    formatting.print_table(
        "Does more exploration go with", *exploration_report.claim_table(summary)
    )
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
    flags.run_binary(main, DEFAULT)
