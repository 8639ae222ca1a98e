r"""Does the advice on the learning rate help? `keras_taylor.diagnose` against the range test.

For every optimizer, rate of a grid and seed: a run of an eighth of the budget, the suggested rate,
perhaps a second eighth and suggestion, and a whole run at the last one. Beside it the learning-rate
range test (200 rounds, read at the steepest descent and at the minimum over ten) and the default
rate. All are held against the lowest final loss of the grid.

    python -m experiments.rate_advice --output_dir=out/rate_advice
    python -m experiments.rate_advice --task=mnist_autoencoder --epochs=2 --seeds=1 \
        --optimizers=sgd,momentum,rmsprop,adam --output_dir=out/rate_advice_mnist

On two cores the digits take seven minutes. Expect rates that are too small to be led to within a
factor three of the best one, and only half of those that are too large to be told so.

Writes `report.html`, `results.json`, `advice.csv` and plots as PNG. A second start with the same
`--output_dir` skips the optimizers and seeds that are done.
"""

import itertools

import rich
import tqdm

from experiments.analysis import rate_summary
from experiments.reports import formatting, rate_report, report
from experiments.runs import comparison, flags, rate_advice, rate_trials, results, rounds, run_files
from experiments.runs.settings import RateAdviceSettings
from experiments.tasks import tasks

EXPERIMENT = "rate_advice"


def main(settings):
    """Trains all cases and writes all results; returns their directory."""
    configuration = results.jsonable(settings.configuration(EXPERIMENT))
    steps = _steps(settings)
    directory = results.claim(settings.output_path(EXPERIMENT), configuration)
    cases = list(itertools.product(settings.choices(), settings.run_seeds()))
    trainers = {}
    with tqdm.tqdm(cases, desc="optimizers and seeds", unit="case", dynamic_ncols=True) as bar:
        found = [_case(directory, settings, steps, trainers, *case) for case in bar]
    write(directory, found, configuration, steps)
    return directory


def _steps(settings):
    task = tasks.get(settings.task)
    examples = comparison.examples_of(settings.task, settings.data_dir)
    steps = len(examples) // task.batch_size
    return rounds.total_steps(steps, settings.resolved_epochs(), settings.max_steps)


def _case(directory, settings, steps, trainers, choice, seed):
    def train():
        # The model of one optimizer serves all its rates and seeds; no more than one is kept.
        if choice.label not in trainers:
            trainers.clear()
            trainers[choice.label] = rate_trials.Trainer(
                settings.task, choice.name, steps, settings.data_dir
            )
        return rate_advice.run(
            trainers[choice.label],
            choice,
            settings.rates_of(choice),
            seed,
            lambda: rate_advice.find_by_range(settings.task, choice, seed, settings.data_dir),
        )

    name = f"{choice.label.replace(':', '_')}_{seed}"
    return run_files.run_once(directory / "runs" / f"{name}.json", train)


def write(directory, cases, configuration, steps):
    """Writes numbers, pictures and the report of finished cases, and prints the tables."""
    summary = rate_summary.summarize(cases)
    results.write_json(
        directory / "results.json",
        {"configuration": configuration, "summary": summary, "cases": cases},
    )
    rows = (row for case in cases for row in rate_summary.rows(case))
    results.write_csv(directory / "advice.csv", rate_summary.COLUMNS, rows)
    title = f"Advice on the learning rate: {configuration['task']}"
    formatting.print_table(title, *rate_report.advice_table(summary))
    formatting.print_table("Final loss over the best of the grid", *rate_report.loss_table(summary))
    report.write(
        directory / "report.html",
        title,
        f"{steps} rounds a run, {len(configuration['factors'])} first rates, "
        f"{configuration['seeds']} seeds.",
        [
            *rate_report.sections(cases, summary),
            *report.provenance(configuration, cases[0]["environment"]),
        ],
    )
    rich.print(f"Report: {directory / 'report.html'}")


if __name__ == "__main__":
    flags.run_binary(main, RateAdviceSettings())
