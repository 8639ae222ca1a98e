r"""Optimizers with tuned learning rates: which ends lowest, and how much the rate matters.

Trains the task with each optimizer at each rate of a grid, goes on beyond an end of the grid where
that is best, picks each optimizer's rate by its final training loss (the mean over the last tenth
of the run), and trains the best again with further seeds.

    python -m experiments.optimizer_comparison --output_dir=out/comparison --workers=2
    python -m experiments.optimizer_comparison --task=mnist_autoencoder --epochs=2 \
        --data_dir=~/tensorflow_datasets --output_dir=out/comparison_mnist

On two cores the digits take about a minute. Expect tuned adaptive optimizers ahead of tuned
SGD, and little between them.

Runs are independent: `--workers` runs several on one machine, `--ray_address` on a Ray cluster
(`pip install 'keras-taylor[cluster]'`), `--strategy` spreads each run over several devices. Writes
`report.html`, `results.json`, `comparison.csv`, plots as PNG, and `tensorboard/` with losses and
hyperparameters. Killed and run again with the same
`--output_dir`, it trains what is missing.
"""

import dataclasses

import rich
from absl import flags as absl_flags

from experiments.reports import comparison_report, drawing, event_logs, formatting, report
from experiments.runs import comparison, flags, results, rounds
from experiments.runs.errors import UsageError
from experiments.tasks import optimizers, rates, strategies, tasks

EXPERIMENT = "optimizer_comparison"


@dataclasses.dataclass(frozen=True)
class Settings(flags.SeedsSettings):
    """What the binary was asked to do."""

    optimizers: tuple = ("sgd", "momentum", "adagrad", "rmsprop", "adam")
    learning_rates: tuple = ()
    factors: tuple = rates.FACTORS
    extensions: int = 3
    workers: int = 1
    ray_address: str | None = None
    strategy: str | None = None

    def configuration(self, experiment):
        """What determines the results: how many workers compute them does not."""
        return super().configuration(experiment) | {
            "grid": list(self.learning_rates),
            "factors": list(self.factors),
            "extensions": self.extensions,
            # Under a strategy, weights start from other draws.
            "strategy": self.strategy,
        }

    def rates_of(self, name):
        """The rates to try for an optimizer."""
        own = optimizers.OPTIMIZERS[name].learning_rate
        return list(map(rates.rounded, self.learning_rates or [own * f for f in self.factors]))


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
    summary = comparison_report.summarize(grid, again)
    by_name = {comparison.name_of(run): run for run in (*grid, *again)}
    runs = list(by_name.values())
    results.write_json(
        directory / "results.json",
        {"configuration": configuration, "summary": summary, "grid": grid, "runs": runs},
    )
    results.write_csv(
        directory / "comparison.csv", comparison_report.COLUMNS, map(comparison_report.row, runs)
    )
    event_logs.write_comparison(directory, by_name)
    for name, draw in comparison_report.figures(grid, again).items():
        drawing.write_png(draw(), directory / f"{name}.png")
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


def check(settings):
    """Returns the settings if they make sense.

    Raises:
        UsageError: if they do not; the message names the flag.
    """
    for name in settings.optimizers:
        if ":" in name:
            raise UsageError(f"--optimizers={name}: rates are tuned; set --learning_rates instead")
    if any(not 0 < rate < float("inf") for rate in settings.learning_rates):
        raise UsageError(f"--learning_rates={settings.learning_rates}: expected positive numbers")
    if settings.extensions < 0:
        raise UsageError(f"--extensions={settings.extensions}: expected zero or a positive number")
    if settings.workers < 1:
        raise UsageError(f"--workers={settings.workers}: expected at least 1")
    if settings.strategy is not None and settings.strategy not in strategies.STRATEGIES:
        known = ", ".join(strategies.STRATEGIES)
        raise UsageError(f"--strategy={settings.strategy}: expected one of {known}")
    return settings


def settings_from_flags():
    """Returns the checked settings that the parsed flags describe."""
    values = absl_flags.FLAGS
    try:
        given = tuple(float(rate) for rate in values.learning_rates or ())
    except ValueError as error:
        raise UsageError(
            f"--learning_rates: expected numbers, as in 0.001,0.01 ({error})"
        ) from error
    common = flags.settings_from_flags(flags.SeedsSettings)
    fields = {field.name: getattr(common, field.name) for field in dataclasses.fields(common)}
    return check(
        Settings(
            **fields,
            learning_rates=given,
            extensions=values.extensions,
            workers=values.workers,
            ray_address=values.ray_address,
            strategy=values.strategy,
        )
    )


def define_flags():
    """Defines the flags, with the defaults of `Settings`."""
    flags.define_flags(Settings())
    absl_flags.DEFINE_list(
        "learning_rates", None, "Rates for all optimizers; if unset, several around each one's own."
    )
    absl_flags.DEFINE_integer(
        "extensions", 3, "Most rates beyond an end of the grid; none with --learning_rates."
    )
    absl_flags.DEFINE_integer("workers", 1, "Processes that train at once on this machine.")
    absl_flags.DEFINE_string("ray_address", None, "Address of a Ray cluster to train on.")
    absl_flags.DEFINE_string(
        "strategy", None, f"Devices of each run: {', '.join(strategies.STRATEGIES)}."
    )


if __name__ == "__main__":
    define_flags()
    flags.guard(lambda: main(settings_from_flags()))
