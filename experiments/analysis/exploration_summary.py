"""What the runs of `experiments.exploration` come to: means, correlations, the effect of RMS."""

import dataclasses
import itertools
import math

import numpy as np

from experiments.analysis import estimates

# The measures of a run's exploration, and how each is read from it.
MEASURES = {
    "switches a rectifier": lambda run: run["measures"]["switches_per_unit"][-1],
    "distance between snapshots": lambda run: _mean(run["measures"]["activation_hamming"][1:]),
    "distance to the nearest": lambda run: _mean(run["measures"]["nearest_hamming"][1:]),
    "configurations": lambda run: run["measures"]["distinct_configurations"][-1],
    "dead units": lambda run: run["measures"]["dead_units"][-1],
    "signal-to-noise": lambda run: run["snr_median"]["gradients"],
}


# The same for the results of its training.
ENDS = {
    "average loss": lambda run: run["means"].get("loss"),
    "Taylor optimum": lambda run: run["optimum"].get("upper"),
    "optimum at least": lambda run: run["optimum"].get("lower"),
    "average regret": lambda run: run["optimum"].get("average_regret_lower"),
    "R": lambda run: run["optimum"].get("radius"),
}


EXPLORING = ("switches a rectifier", "distance to the nearest", "configurations")


OUTCOMES = ("Taylor optimum", "average loss")


PLAIN, NORMALIZED = "sgd", "sgd_rms_normalized"


COLUMNS = ("optimizer", "seed", "round", "measure", "value")


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
    is_ranked = outcome != "Taylor optimum" or _are_apart(map(_optimum, by_optimizer.values()))
    return {
        "measure": measure,
        "outcome": outcome,
        **vars(found),
        "is_ranked": is_ranked,
        "verdict": estimates.verdict(found, -1) if is_ranked else estimates.UNDECIDED,
    }


def _optimum(group):
    """Returns the interval of the mean optimum of an optimizer's runs, those that have one."""
    found = [run["optimum"] for run in group if run["optimum"]]
    lower, upper = ([one[end] for one in found] for end in ("lower", "upper"))
    return math.nan if None in lower else _mean(lower), _mean(upper)


def _are_apart(intervals):
    """Tells whether no two intervals have a point in common, so that their order is known."""
    # An end that is not known is nowhere; without an upper one there is no optimum.
    found = [pair for pair in intervals if math.isfinite(pair[1])]
    known = sorted((lower if math.isfinite(lower) else -math.inf, upper) for lower, upper in found)
    return all(one[1] < other[0] for one, other in itertools.pairwise(known))


def _normalization(by_optimizer):
    """Returns each quantity of RMS-normalised SGD minus that of plain SGD, paired by seed."""
    # Labels may have a learning rate behind a colon.
    by_name = {label.partition(":")[0]: group for label, group in by_optimizer.items()}
    if PLAIN not in by_name or NORMALIZED not in by_name:
        return {}
    plain, normalized = by_name[PLAIN], by_name[NORMALIZED]
    found = {
        name: estimates.difference([read(r) for r in normalized], [read(r) for r in plain])
        for name, read in (MEASURES | ENDS).items()
    }
    # What is known of the optima are intervals, and so of their difference.
    lowest, highest = (
        estimates.difference(
            [run["optimum"].get(end) for run in normalized],
            [run["optimum"].get(other) for run in plain],
        )
        for end, other in (("lower", "upper"), ("upper", "lower"))
    )
    ends = lowest.lower, highest.upper
    found["Taylor optimum"] = dataclasses.replace(
        found["Taylor optimum"], lower=ends[0], upper=ends[1]
    )
    return {name: vars(estimate) for name, estimate in found.items()}


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


def _mean(values):
    found = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.mean(found)) if found else math.nan
