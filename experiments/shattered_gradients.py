r"""How gradients shatter with depth: linear, tanh, rectifier, residual and normalised networks.

Measures networks at initialisation, along lines between two real digits: the autocorrelation of the
output's gradient in the input, by depth; its half-width (the distance along the line at which it
has fallen to one half); and the correlation of gradients in input and weights at two inputs, by the
distance between these.

    python -m experiments.shattered_gradients --output_dir=out/shattering
    python -m experiments.shattered_gradients --depths=1,10,50 --width=50 --lines=4 --seeds=2

On two cores the defaults take a little over a minute. Expect correlation 1 at any distance for
linear networks; half-widths that shrink with depth for rectifiers, more slowly for residual ones.

Writes `report.html`, `results.json`, `shattering.csv` and plots as PNG. A second start with the
same `--output_dir` skips the networks that are done.
"""

import itertools
import time

import rich
import tqdm

from experiments.analysis import shattering_summary
from experiments.reports import formatting, report, shattering_report
from experiments.runs import exploring, flags, results, run_files, shattering
from experiments.runs.settings import ShatteringSettings
from experiments.tasks import tasks

EXPERIMENT, TASK = "shattered_gradients", "digits_classifier"


def main(settings):
    """Measures all networks and writes all results; returns their directory."""
    configuration = results.jsonable(settings.configuration(EXPERIMENT))
    task = tasks.get(TASK)
    x = exploring.probe(task, tasks.examples(task, settings.data_dir))
    directory = results.claim(settings.output_path(EXPERIMENT), configuration)
    cases = list(itertools.product(settings.kinds, settings.depths, settings.run_seeds()))
    with tqdm.tqdm(cases, desc="networks", unit="network", dynamic_ncols=True) as bar:
        runs = [_run(directory, x, settings, *case) for case in bar]
    write(directory, runs, configuration)
    return directory


def _run(directory, x, settings, kind, depth, seed):
    def measure():
        began = time.perf_counter()
        run = shattering.measure(
            kind, depth, seed, x, settings.width, settings.lines, settings.points
        )
        return run | {"seconds": time.perf_counter() - began}

    name = f"{kind.replace(' ', '_')}_{depth}_{seed}"
    return run_files.run_once(directory / "runs" / f"{name}.json", measure)


def write(directory, runs, configuration):
    """Writes numbers, pictures and the report of finished runs, and prints the tables."""
    summary = shattering_summary.summarize(runs)
    results.write_json(
        directory / "results.json",
        {
            "configuration": configuration,
            "summary": summary,
            "trends": {
                kind: vars(found) for kind, found in shattering_summary.trends(runs).items()
            },
            "runs": runs,
        },
    )
    rows = (row for run in runs for row in shattering_summary.long_rows(run))
    results.write_csv(directory / "shattering.csv", shattering_summary.COLUMNS, rows)
    title = "Half-width of the autocorrelation, share of the line"
    formatting.print_table(title, *shattering_report.width_table(summary))
    report.write(
        directory / "report.html",
        "Shattered gradients",
        f"Networks of width {configuration['width']} at initialisation, {configuration['lines']} "
        f"lines between digits, {configuration['seeds']} seeds.",
        [
            *shattering_report.sections(runs, summary),
            *report.provenance(configuration, runs[0]["environment"]),
        ],
    )
    rich.print(f"Report: {directory / 'report.html'}")


if __name__ == "__main__":
    flags.run_binary(main, ShatteringSettings())
