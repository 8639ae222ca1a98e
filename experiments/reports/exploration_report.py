"""The tables, pictures and words of `experiments.exploration`."""

import functools
import math

import numpy as np

from experiments.analysis import estimates
from experiments.reports import bands, formatting, report

# What is said of a run, and how it is read off it.
MEASURES = {
    "switches a rectifier": lambda run: run["measures"]["switches_per_unit"][-1],
    "distance between snapshots": lambda run: _mean(run["measures"]["activation_hamming"][1:]),
    "distance to the nearest": lambda run: _mean(run["measures"]["nearest_hamming"][1:]),
    "configurations": lambda run: run["measures"]["distinct_configurations"][-1],
    "dead units": lambda run: run["measures"]["dead_units"][-1],
    "signal-to-noise": lambda run: run["snr_median"]["gradients"],
}
ENDS = {
    "average loss": lambda run: run["means"].get("loss"),
    "Taylor optimum": lambda run: run["optimum"].get("upper"),
    "average regret": lambda run: run["optimum"].get("regret_lower"),
    "R": lambda run: run["optimum"].get("radius"),
}
EXPLORING = ("switches a rectifier", "distance to the nearest", "configurations")
OUTCOMES = ("Taylor optimum", "average loss")
PLAIN, NORMALIZED = "sgd", "sgd_rms_normalized"
COLUMNS = ("optimizer", "seed", "round", "measure", "value")
HOW_TO_READ = {
    "switches a rectifier": "How often an average rectifier or pooling window has switched, "
    "between snapshots, over the whole run, for an average example of the probe.",
    "distance between snapshots, to the nearest": "Share of all bits that differ from the snapshot "
    "before, and from the nearest of all earlier ones: means over the run. A run that turns back "
    "has a small second one.",
    "configurations": "Different activation configurations of single examples in all snapshots.",
    "dead units": "Share of rectifier units that are off for the whole probe at the end.",
    "signal-to-noise": "Median over all weights of |mean g| / sqrt(mean g²) over all rounds.",
    "Taylor optimum, average regret": "Of the network in the recorded rounds: average loss is "
    "their sum. The optimum is the upper end of its interval.",
    "rank correlation": "Spearman's, over the optimizers' means: -1 where more exploration always "
    "goes with less. In brackets its 95 % interval by bootstrap over seeds: what other seeds may "
    "give for these optimizers, not what other optimizers would. p: how likely one as strong is "
    "when optimizers are paired by chance. Only an interval on one side of zero with p at most "
    "0.05, which five optimizers reach with the strictest order only, counts as holding.",
}


def summarize(runs):
    """Returns means with intervals by optimizer, rank correlations and the effect of RMS."""
    by_optimizer = {}
    for run in runs:
        by_optimizer.setdefault(run["optimizer"], []).append(run)
    quantities = MEASURES | ENDS
    return {
        "optimizers": {
            optimizer: {
                name: vars(estimates.mean([read(run) for run in group]))
                for name, read in quantities.items()
            }
            | {"diverged": sum(run["diverged"] for run in group), "runs": len(group)}
            for optimizer, group in by_optimizer.items()
        },
        "claims": [
            _claim(by_optimizer, measure, outcome) for outcome in OUTCOMES for measure in EXPLORING
        ],
        "normalization": _normalization(by_optimizer),
    }


def _claim(by_optimizer, measure, outcome):
    pairs = [
        [
            (MEASURES[measure](run), ENDS[outcome](run))
            for run in group
            if ENDS[outcome](run) is not None
        ]
        for group in by_optimizer.values()
    ]
    found = estimates.rank_correlation(pairs)
    return {
        "measure": measure,
        "outcome": outcome,
        **vars(found),
        "verdict": estimates.verdict(found, -1),
    }


def _normalization(by_optimizer):
    """Returns RMS-normalised less plain SGD for each quantity, paired by seed."""
    # Labels may have a learning rate behind a colon.
    by_name = {label.partition(":")[0]: group for label, group in by_optimizer.items()}
    if PLAIN not in by_name or NORMALIZED not in by_name:
        return {}
    plain, normalized = by_name[PLAIN], by_name[NORMALIZED]
    return {
        name: vars(estimates.difference([read(r) for r in normalized], [read(r) for r in plain]))
        for name, read in (MEASURES | ENDS).items()
    }


def measure_table(summary):
    """Returns header and rows: how much each optimizer explored."""
    return _table(summary, MEASURES)


def end_table(summary):
    """Returns header and rows: where each optimizer ended."""
    return _table(summary, ENDS)


def claim_table(summary):
    """Returns header and rows: whether more exploration went with lower optimum and loss."""
    header = ("a lower", "measure of exploration", "rank correlation", "p", "verdict")
    return header, [
        (
            row["outcome"],
            row["measure"],
            formatting.estimate(row, 2),
            formatting.number(row["p_value"], 2),
            row["verdict"],
        )
        for row in summary["claims"]
    ]


def normalization_table(summary):
    """Returns header and rows: what RMS normalisation of SGD changes."""
    header = ("quantity", "RMS-normalised SGD less plain SGD")
    return header, [
        (name, formatting.estimate(found, 3)) for name, found in summary["normalization"].items()
    ]


def means_table(summary):
    """Returns header and rows, quantities down and optimizers across: means without intervals."""
    header = ("mean over seeds", *map(_name, summary["optimizers"].items()))
    return header, [
        (
            name,
            *(formatting.number(row[name]["value"], 3) for row in summary["optimizers"].values()),
        )
        for name in MEASURES | ENDS
    ]


def _table(summary, quantities):
    header = ("optimizer", *quantities)
    return header, [
        (_name((optimizer, row)), *(formatting.estimate(row[name], 3) for name in quantities))
        for optimizer, row in summary["optimizers"].items()
    ]


def _name(item):
    optimizer, row = item
    failed = f" ({row['diverged']} of {row['runs']} diverged)" if row["diverged"] else ""
    return optimizer.replace("_", " ") + failed


def long_rows(run):
    """Yields the measures of a run at each snapshot, and where it ended, in long format."""
    head = {"optimizer": run["optimizer"], "seed": run["seed"]}
    for measure, values in run["measures"].items():
        for number, value in zip(run["steps"], values, strict=True):
            yield head | {"round": number, "measure": measure, "value": value}
    for number, value in zip(run["loss_rounds"], run["losses"], strict=True):
        yield head | {"round": number, "measure": "loss", "value": value}
    for name, read in ENDS.items():
        yield head | {"round": run["steps"][-1], "measure": name, "value": read(run)}


def figures(runs, summary):
    """Returns `{name: draw()}` of all pictures."""
    curves = functools.partial(bands.curves_figure, runs)
    return {
        "loss": functools.partial(
            curves, "loss_rounds", lambda run: run["losses"], "Training loss", "loss", log=True
        ),
        "switches": functools.partial(
            curves,
            "steps",
            lambda run: run["measures"]["switches_per_unit"],
            "Switches a rectifier so far",
            "switches",
        ),
        "nearest": functools.partial(
            curves,
            "steps",
            lambda run: run["measures"]["nearest_hamming"],
            "Distance to the nearest earlier snapshot",
            "share of bits",
            log=True,
        ),
        "optimum_and_switches": functools.partial(
            bands.scatter_figure,
            summary["optimizers"],
            "switches a rectifier",
            "Taylor optimum",
        ),
    }


def sections(runs, summary):
    """Returns the sections of the report, the most important first."""
    pictures = tuple(
        report.picture(
            name.replace("_", " ") + ", by optimizer, with 95 % intervals over seeds", draw
        )
        for name, draw in figures(runs, summary).items()
    )
    effect = ()
    if summary["normalization"]:
        effect = (
            report.Section(
                "What RMS normalisation changes",
                table=report.Table(*normalization_table(summary)),
            ),
        )
    return [
        report.Section(
            "Does more exploration go with a lower optimum and loss?",
            table=report.Table(*claim_table(summary), text_columns=2),
            pictures=pictures,
        ),
        report.Section(
            "How much each optimizer explored", table=report.Table(*measure_table(summary))
        ),
        report.Section("Where it ended", table=report.Table(*end_table(summary))),
        *effect,
        report.Section("How to read it", terms=HOW_TO_READ),
    ]


def _mean(values):
    found = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.mean(found)) if found else math.nan
