r"""How gradients shatter with depth: linear, tanh, rectifier, residual and normalised networks.

Networks at initialisation, on lines between two real digits: the autocorrelation of the output's
gradient in the input along the line, by depth; its half-width (how far along the line until the
correlation has halved); and the correlation of gradients in input and weights at two inputs, by
their distance.

    python -m experiments.shattered_gradients --output_dir=out/shattering
    python -m experiments.shattered_gradients --depths=1,10,50 --width=50 --lines=4 --seeds=2

On two cores the defaults take a little over a minute. Expect correlation 1 at any distance for
linear networks; half-widths that shrink with depth for rectifiers, more slowly for residual ones.

Writes `report.html`, `results.json`, `shattering.csv` and plots as PNG. Run again with the same
`--output_dir`, it skips the networks that are done.
"""

import dataclasses
import itertools
import pathlib
import time

import rich
import tqdm
from absl import flags as absl_flags

from experiments.reports import drawing, formatting, report, shattering_report
from experiments.runs import exploring, flags, results, shattering
from experiments.runs.errors import UsageError
from experiments.tasks import shattering_networks, tasks

EXPERIMENT = "shattered_gradients"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the binary was asked to do."""

    kinds: tuple = tuple(shattering_networks.KINDS)
    depths: tuple = (1, 2, 5, 10, 20, 50)
    width: int = 100
    lines: int = 6
    points: int = 128
    seeds: int = 3
    seed: int = 0
    data_dir: str | None = None
    output_dir: str = "out/shattered_gradients"

    def configuration(self):
        """What determines the results."""
        names = ("kinds", "depths", "width", "lines", "points", "seeds", "seed")
        return {"experiment": EXPERIMENT} | {name: getattr(self, name) for name in names}


def main(settings):
    """Measures all networks and writes all results; returns their directory."""
    configuration = results.jsonable(settings.configuration())
    task = tasks.get("digits_classifier")
    x = exploring.probe(task, tasks.examples(task, settings.data_dir))
    directory = results.claim(pathlib.Path(settings.output_dir), configuration)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    cases = list(itertools.product(settings.kinds, settings.depths, seeds))
    bar = tqdm.tqdm(cases, desc="networks", unit="network", dynamic_ncols=True)
    runs = [_run(directory, x, settings, *case) for case in bar]
    write(directory, runs, configuration)
    return directory


def _run(directory, x, settings, kind, depth, seed):
    path = directory / "runs" / f"{kind.replace(' ', '_')}_{depth}_{seed}.json"
    if not path.exists():
        start = time.perf_counter()
        run = shattering.measure(
            kind, depth, seed, x, settings.width, settings.lines, settings.points
        )
        seconds = {"seconds": time.perf_counter() - start}
        results.write_json(path, run | seconds | {"environment": results.environment()})
    return results.read_json(path)


def write(directory, runs, configuration):
    """Writes numbers, pictures and the report of finished runs, and prints the tables."""
    summary = shattering_report.summarize(runs)
    results.write_json(
        directory / "results.json",
        {
            "configuration": configuration,
            "summary": summary,
            "trends": {kind: vars(found) for kind, found in shattering_report.trends(runs).items()},
            "runs": runs,
        },
    )
    rows = (row for run in runs for row in shattering_report.long_rows(run))
    results.write_csv(directory / "shattering.csv", shattering_report.COLUMNS, rows)
    for name, draw in shattering_report.figures(runs).items():
        drawing.write_png(draw(), directory / f"{name}.png")
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


def define_flags():
    """Defines the flags, with the defaults of `Settings`."""
    default = Settings()
    absl_flags.DEFINE_list("kinds", list(default.kinds), "Kinds of networks.")
    absl_flags.DEFINE_list("depths", [str(d) for d in default.depths], "Numbers of hidden layers.")
    absl_flags.DEFINE_integer("width", default.width, "Units of each hidden layer.")
    absl_flags.DEFINE_integer("lines", default.lines, "Lines between two digits.")
    absl_flags.DEFINE_integer("points", default.points, "Inputs on each line.")
    absl_flags.DEFINE_integer("seeds", default.seeds, "Networks of each kind and depth.")
    absl_flags.DEFINE_integer("seed", default.seed, "The first seed.")
    absl_flags.DEFINE_string("data_dir", None, "Directory of prepared TensorFlow Datasets.")
    absl_flags.DEFINE_string("output_dir", default.output_dir, "Directory of the results.")


def settings_from_flags():
    """Returns the checked settings that the parsed flags describe."""
    names = [field.name for field in dataclasses.fields(Settings)]
    values = {name: getattr(absl_flags.FLAGS, name) for name in names}
    try:
        values["depths"] = tuple(int(depth) for depth in values["depths"])
    except ValueError as error:
        raise UsageError(f"--depths: expected whole numbers, as in 1,2,5 ({error})") from error
    return check(Settings(**values | {"kinds": tuple(values["kinds"])}))


def check(settings):
    """Returns the settings if they make sense.

    Raises:
        UsageError: if they do not; the message names the flag.
    """
    unknown = [kind for kind in settings.kinds if kind not in shattering_networks.KINDS]
    if unknown or not settings.kinds:
        known = ", ".join(shattering_networks.KINDS)
        raise UsageError(f"--kinds={','.join(settings.kinds)}: expected some of {known}")
    least = {"width": 1, "lines": 1, "points": 2, "seeds": 1, "seed": 0}
    for name, value in least.items():
        if getattr(settings, name) < value:
            raise UsageError(f"--{name}={getattr(settings, name)}: expected at least {value}")
    if not settings.depths or min(settings.depths) < 1:
        raise UsageError(f"--depths={settings.depths}: expected positive numbers")
    return settings


if __name__ == "__main__":
    define_flags()
    flags.guard(lambda: main(settings_from_flags()))
