r"""Linear regret of optimizers on a task: per network, layer and unit, over the rounds.

Trains the task from one initialisation with each optimizer, and says for each how much of its
training loss can be regret and how low the optimum of what it saw can be at most.

    python -m experiments.taylor_regret --output_dir=out/digits
    python -m experiments.taylor_regret --task=mnist_autoencoder --optimizers=sgd,adam:0.003 \
        --epochs=5 --burn_in=900 --data_dir=~/tensorflow_datasets --output_dir=out/mnist

On two cores the digits take 20 seconds, the autoencoder 10 seconds an epoch and optimizer, the
CIFAR-10 convnet 30 seconds per 100 rounds and optimizer. Expect SGD behind RMSprop and Adam, with
a higher lower bound of its optimum.

Writes `report.html` (start there), `results.json`, `results.csv` and plots as PNG. Run again with
the same `--output_dir`, it skips the optimizers that are done.
"""

import functools

import rich

from experiments import (
    flags,
    plots,
    regret_report,
    report,
    results,
    summary,
    tables,
    tasks,
    training,
)
from experiments.errors import UsageError

EXPERIMENT = "taylor_regret"


def main(settings):
    """Trains with each optimizer of the settings and writes all results.

    Args:
        settings: An `experiments.flags.Settings`.

    Returns:
        The directory of the results.
    """
    configuration = settings.configuration(EXPERIMENT)
    task = tasks.get(settings.task)
    examples = tasks.examples(task, settings.data_dir)
    steps = _checked_steps(settings, task, examples)
    directory = results.claim(settings.output_path(EXPERIMENT), configuration)
    train = functools.partial(
        training.train,
        task,
        examples,
        steps=steps,
        seed=settings.seed,
        burn_in=settings.burn_in,
        radius=settings.radius,
    )
    runs = [_run(directory, choice, train) for choice in settings.choices()]
    _write(directory, runs, steps - settings.burn_in, configuration)
    return directory


def _checked_steps(settings, task, examples):
    steps = training.steps_of(task, examples, settings.resolved_epochs(), settings.max_steps)
    if settings.burn_in >= steps:
        raise UsageError(
            f"--burn_in={settings.burn_in} leaves nothing to track: the run has {steps} rounds; "
            "lower --burn_in, or raise --epochs or --max_steps"
        )
    return steps


def _run(directory, choice, train):
    path = directory / "runs" / f"{choice.label.replace(':', '_')}.json"
    if path.exists():
        rich.print(f"{choice.label}: already in {path}, skipped")
    else:
        results.write_json(path, train(choice) | {"environment": results.environment()})
    return results.read_json(path)


def _write(directory, runs, tracked_rounds, configuration):
    summaries = [summary.summarize(run, tracked_rounds) for run in runs]
    _write_numbers(directory, runs, summaries, configuration)
    _write_pictures(directory, runs, tracked_rounds)
    tables.print_table(_title(configuration), *tables.network_table(summaries))
    tables.print_table("Average Taylor regret lies between", *tables.sandwich_table(summaries))
    report.write(
        directory / "report.html",
        _title(configuration),
        f"{tracked_rounds} rounds tracked after {configuration['burn_in']} of burn-in, from one "
        f"initialisation, seed {configuration['seed']}.",
        regret_report.sections(
            runs, summaries, tracked_rounds, configuration, runs[0]["environment"]
        ),
    )
    rich.print(f"Report: {directory / 'report.html'}")


def _write_numbers(directory, runs, summaries, configuration):
    results.write_json(
        directory / "results.json",
        {"configuration": configuration, "summaries": summaries, "runs": runs},
    )
    rows = (row for run in runs for row in summary.long_rows(run))
    results.write_csv(directory / "results.csv", summary.COLUMNS, rows)


def _write_pictures(directory, runs, tracked_rounds):
    plots.write_png(plots.loss_figure(runs, tracked_rounds), directory / "loss.png")
    plots.write_png(plots.regret_figure(runs), directory / "linear_regret.png")
    layers = regret_report.layers_of(runs)
    plots.write_png(plots.layers_figure(runs, layers), directory / "layers.png")


def _title(configuration):
    return f"Taylor regret: {configuration['task']}"


if __name__ == "__main__":
    flags.run_binary(main)
