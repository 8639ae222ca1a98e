r"""Optimizers with tuned learning rates: which ends lowest, and how much the rate matters.

Trains the task with each optimizer at each rate of a grid, and at further rates where the best is
an end of the grid. Picks each optimizer's rate by its final training loss (the mean over the last
tenth of the run), and trains with the best rate and further seeds.

    python -m experiments.optimizer_comparison --output_dir=out/comparison --workers=2
    python -m experiments.optimizer_comparison --task=mnist_autoencoder --epochs=2 \
        --data_dir=~/tensorflow_datasets --output_dir=out/comparison_mnist

On two cores the digits take about a minute. Expect tuned adaptive optimizers to end below tuned
SGD, with small differences between them.

Runs are independent: `--workers` runs several on one machine, `--ray_address` on a Ray cluster
(`pip install -e '.[cluster]'`), `--strategy` spreads each run over several devices.

Writes `report.html`, `results.json`, `comparison.csv`, plots as PNG, and `tensorboard/` with losses
and hyperparameters. After an interruption, a second start with the same `--output_dir` trains the
missing runs only.
"""

import rich

from experiments.analysis import comparison_summary
from experiments.reports import comparison_report, formatting, report
from experiments.runs import comparison, event_logs, flags, results, rounds
from experiments.runs.settings import ComparisonSettings
from experiments.tasks import rates, strategies, tasks

EXPERIMENT = "optimizer_comparison"


def main(settings):
    """Trains all runs and writes all results; returns their directory."""
    strategies.get(settings.strategy)
    configuration = settings.configuration(EXPERIMENT)
    directory = results.claim(settings.output_path(EXPERIMENT), configuration)
    how = {"workers": settings.workers, "ray_address": settings.ray_address}
    grid = comparison.finish_all(_grid(settings), directory, **how)
    for _ in range(0 if settings.learning_rates else settings.extensions):
        beyond = rates.beyond_ends(grid)
        if not beyond:
            break
        more = [_run(settings, *pair, settings.seed, grid[0]["steps"]) for pair in beyond]
        grid += comparison.finish_all(more, directory, **how)
    grid.sort(key=lambda run: (settings.optimizers.index(run["optimizer"]), run["learning_rate"]))
    best = rates.best(grid)
    again = comparison.finish_all(_reruns(settings, best), directory, **how)
    write(directory, grid, again, configuration)
    return directory


def _steps(settings):
    task = tasks.get(settings.task)
    examples = comparison.examples_of(settings.task, settings.data_dir)
    steps = len(examples) // task.batch_size
    return rounds.total_steps(steps, settings.resolved_epochs(), settings.max_steps)


def _run(settings, name, rate, seed, steps):
    return comparison.Run(
        settings.task, name, rate, seed, steps, settings.data_dir, settings.strategy
    )


def _grid(settings):
    steps = _steps(settings)
    return [
        _run(settings, name, rate, settings.seed, steps)
        for name in settings.optimizers
        for rate in settings.rates_of(name)
    ]


def _reruns(settings, best):
    steps = _steps(settings)
    return [
        _run(settings, name, rate, seed, steps)
        for name, rate in best.items()
        if rate is not None
        for seed in settings.run_seeds()
    ]


def write(directory, grid, again, configuration):
    """Writes numbers, pictures and the report of finished runs, and prints the table."""
    summary = comparison_summary.summarize(grid, again)
    by_name = {comparison.name_of(run): run for run in (*grid, *again)}
    runs = list(by_name.values())
    results.write_json(
        directory / "results.json",
        {"configuration": configuration, "summary": summary, "grid": grid, "runs": runs},
    )
    results.write_csv(
        directory / "comparison.csv", comparison_summary.COLUMNS, map(comparison_summary.row, runs)
    )
    event_logs.write_comparison(directory, by_name)
    title = f"Tuned optimizers: {configuration['task']}"
    formatting.print_table(title, *comparison_report.best_table(summary))
    report.write(
        directory / "report.html",
        title,
        f"{grid[0]['steps']} rounds a run; rates picked with seed {configuration['seed']}, "
        f"{configuration['seeds']} seeds at the best.",
        [
            *comparison_report.sections(grid, again, summary),
            *report.provenance(configuration, grid[0]["environment"]),
        ],
    )
    rich.print(f"Report: {directory / 'report.html'}")


if __name__ == "__main__":
    flags.run_binary(main, ComparisonSettings())
