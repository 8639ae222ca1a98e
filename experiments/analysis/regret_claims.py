"""The evidence on C1: whether regret stays below its guarantee, and how fast it grows."""

import numpy as np

from experiments.analysis import cells, estimates, growth
from experiments.analysis.evidence import Evidence, counted, together

SLOPE = 0.5
# Least ratio of the last to the first horizon for a slope above 1/2 to contradict the claim.
DECADES = 100
# Losses are recorded in single precision: regret below this share of them is rounding.
ROUNDING = 1e-6
NO_SLOPE = "too little positive regret for a slope"
KINDS = ("network", "layers", "units")


def guaranteed(task, runs, source):
    """Returns the evidence on C1a of a task's runs: from live sums, and from certified regret."""
    found = []
    for number, run in enumerate(runs):
        where = f"{source}/runs/{number}"
        live = _relative_regrets(run)
        if any(len(values) for values in live.values()):
            subject, place = f"{run['optimizer']}, linear regret", f"{where}/network"
            text, verdict = _live(live)
            found.append(Evidence("C1a", task, subject, text, verdict, place))
        for kind, subject in (("parts", "regret of network and layers"), ("units", "of units")):
            rows = run["decomposition"].get(kind, ())
            if any(row.get("average_guarantee") is not None for row in rows):
                place = f"{where}/decomposition/{kind}"
                subject = f"{run['optimizer']}, {subject}"
                found.append(Evidence("C1a", task, subject, *_certified(rows, _rate(run)), place))
    return found


def _relative_regrets(run):
    """Returns linear regret over guarantee at the readings from N = 10: `{kind: (parts, N)}`."""
    network = [run["network"].get("relative_regret", [])]
    layers = [series.get("relative_regret", []) for series in run["layers"].values()]
    units = [
        list(unit)
        for series in run["units"].values()
        for unit in zip(*series.get("relative_regret", []), strict=True)
    ]
    readings = dict.fromkeys(KINDS[:2], run["progress"]["round"])
    readings["units"] = run["unit_progress"]["round"]
    found = {}
    for kind, values in zip(KINDS, (network, layers, units), strict=True):
        late = np.asarray(readings[kind]) >= growth.FIRST_ROUND
        values = np.array([v for v in values if len(v) == len(late)], float)
        found[kind] = values[:, late] if values.size else np.zeros((0, 0))
    return found


def _live(live):
    """Returns text and verdict on linear regret, an upper bound, over the guarantee."""
    texts = []
    for kind, values in live.items():
        if not values.size:
            continue
        # A part that has not moved has neither regret nor guarantee.
        last, worst = values[:, -1], np.nanmax(np.nan_to_num(values), axis=1)
        ends = cells.interval(*np.nanquantile(last, [0, 1]), 2)
        within = f"; {np.sum(worst <= 1)} of {len(worst)} never above it" if len(worst) > 1 else ""
        texts.append(f"{kind} {ends}{within}")
    exceeded = any(np.nan_to_num(values).max(initial=0.0) > 1 for values in live.values())
    # A part that is known no more at the end has diverged; one that never was has not moved.
    lost = any(
        np.any(np.isnan(values[:, -1]) & ~np.isnan(values).all(axis=1))
        for values in live.values()
        if values.size
    )
    is_known = live["network"].size and not np.isnan(live["network"][:, -1]).any()
    verdict = estimates.HOLDS if is_known and not exceeded and not lost else estimates.UNDECIDED
    return f"over guarantee at the end: {', '.join(texts)}", verdict


def _rate(run):
    """Returns the constant rate of plain SGD; `None` for others, which no theorem binds."""
    return run["learning_rate"] if run["optimizer"].partition(":")[0] == "sgd" else None


def _certified(rows, rate):
    """Returns text and verdict on regret over the guarantee, of all parts and horizons."""
    verdicts = [_below_guarantee(row, rate) for row in rows]
    above = [
        row["average_regret_lower"] / row["average_guarantee"]
        for row in rows
        if _is_known(row) and row["average_regret_lower"] > row["average_guarantee"] + _room(row)
    ]
    text = f"{counted(verdicts)}, of {len(rows)} parts and N"
    if above:
        ends = cells.interval(min(above), max(above), 2)
        text += f"; above it for certain {len(above)}, at {ends} times it"
    return text, together(verdicts)


def _below_guarantee(row, rate):
    if not _is_known(row):
        return estimates.UNDECIDED
    if row["average_regret_upper"] <= row["average_guarantee"] + _room(row):
        return estimates.HOLDS
    if rate is None:
        return estimates.UNDECIDED
    is_above = row["average_regret_lower"] > _bound(row, rate) + _room(row)
    return estimates.FAILS if is_above else estimates.UNDECIDED


def _is_known(row):
    """Tells whether the guarantee and both ends of regret are there, and a part has a guarantee."""
    names = ("average_guarantee", "average_regret_lower", "average_regret_upper")
    return None not in [row.get(name) for name in names]


def _room(row):
    return ROUNDING * abs(row["average_loss"])


def _bound(row, rate):
    """Returns what plain SGD of a constant rate guarantees, `(R^2 / rate + rate G) / 2 N`.

    With `G = sum_n ||g^n||^2`; the guarantee is this at the best rate for N and the part.
    """
    if not row["radius"]:
        return 0.0
    squares = (row["average_guarantee"] * row["rounds"] / row["radius"]) ** 2
    return (row["radius"] ** 2 / rate + rate * squares) / 2 / row["rounds"]


def regret_growth(task, runs, source, window=""):
    """Returns the evidence on C1b of a task's decompositions: of the network, and of its layers.

    Args:
        task: The task.
        runs: Its runs.
        source: The directory of their results.
        window: Which rounds they are about, for the subject.
    """
    found = []
    for number, run in enumerate(runs):
        split = run["decomposition"]
        rates = {
            part: _judged(rate, [row for row in split["fixed"] if row["part"] == part])
            for part, rate in split.get("fixed_rates", {}).items()
        }
        where = f"{source}/runs/{number}/decomposition/fixed_rates"
        if "network" in rates:
            rate = rates.pop("network")
            growing = cells.rate(split.get("rates", {}).get("network"))
            text = f"slope {_slope(rate)} at fixed R, {growing} else"
            subject, place = f"{run['optimizer']}{window}", f"{where}/network"
            found.append(Evidence("C1b", task, subject, text, rate["verdict"], place))
        if rates:
            subject = f"{run['optimizer']}, layers{window}"
            found.append(Evidence("C1b", task, subject, *_layers_growth(rates), where))
    return found


def _judged(rate, rows):
    """Returns a rate widened by the intervals of regret, with its verdict."""
    rate = growth.widened(rate, rows)
    at_end = rows[-1]["average_regret_upper"]
    is_below = at_end is not None and at_end <= 0
    late = [row for row in rows if row["rounds"] >= growth.FIRST_ROUND]
    lowest = [row["average_regret_lower"] for row in late]
    is_long = bool(late) and late[-1]["rounds"] >= DECADES * late[0]["rounds"]
    is_positive = all(one is not None and one > 0 for one in lowest)
    verdict = _growth_verdict(rate, is_below, is_long and is_positive)
    return rate | {"is_below": is_below, "verdict": verdict}


def _slope(rate):
    if rate["is_below"]:
        return "none, regret is at or below zero"
    return NO_SLOPE if rate["slope"] is None else cells.rate(rate)


def _growth_verdict(rate, is_below, can_fail):
    if is_below or (rate["upper"] is not None and rate["upper"] <= SLOPE):
        return estimates.HOLDS
    if can_fail and rate["lower"] is not None and rate["lower"] > SLOPE:
        return estimates.FAILS
    return estimates.UNDECIDED


def _layers_growth(rates):
    """Returns text and verdict on the growth of the regret of several layers."""
    verdicts = [rate["verdict"] for rate in rates.values()]
    below = [part for part, rate in rates.items() if rate["is_below"]]
    known = {
        part: rate
        for part, rate in rates.items()
        if rate["slope"] is not None and part not in below
    }
    text = f"{counted(verdicts)}: {NO_SLOPE} in any"
    if known:
        lowest, highest = (
            pick(known, key=lambda part: known[part]["slope"]) for pick in (min, max)
        )
        ends = (
            f"{cells.rate(known[part])} ({part.partition(':')[2]})"
            for part in dict.fromkeys((lowest, highest))
        )
        text = f"slope {' to '.join(ends)} at fixed R: {counted(verdicts)}"
    if below:
        text += f"; at or below zero at the end: {len(below)} of {len(rates)}"
    return text, together(verdicts)
