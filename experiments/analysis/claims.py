"""The evidence on the paper's claims C2 to C4, and the table of all claims."""

import math

from experiments.analysis import cells, claim_texts, estimates, shattering_summary
from experiments.analysis.evidence import CONTROL, Evidence, counted, together

ENDS = tuple(
    f"{name}_{end}" for name in ("optimum", "average_regret") for end in ("lower", "upper")
)
ADAPTIVE = ("adagrad", "rmsprop", "adam")


def explained_loss(task, summaries, source):
    """Returns the evidence on C2 of a task's decompositions: each optimizer beside the best."""
    rows = {item["optimizer"]: item["decomposition"]["parts"].get("network") for item in summaries}
    rows = {name: row for name, row in rows.items() if row is not None}
    if len(rows) < 2:
        return []
    best = min(rows, key=lambda name: rows[name]["average_loss"])
    return [
        _beside(task, name, row, best, rows[best], source)
        for name, row in rows.items()
        if name != best
    ]


def _beside(task, name, row, best, other, source):
    where = f"{source}/summaries ({name}, {best})"
    if any(one[end] is None for one in (row, other) for end in ENDS):
        text = "a solve had no pass left to evaluate anything"
        return Evidence("C2", task, name, text, estimates.UNDECIDED, where)
    behind = row["average_loss"] - other["average_loss"]
    optimum = _less(row, other, "optimum")
    regret = _less(row, other, "average_regret")
    is_decided = optimum[0] > regret[1] or regret[0] > optimum[1]
    larger = "the optimum" if sum(optimum) > sum(regret) else "regret"
    text = (
        f"behind {best} by {cells.number(behind, 3)}: "
        f"optimum {cells.interval(*optimum)}, regret {cells.interval(*regret)}"
    )
    text += f"; mostly {larger}" if is_decided else ""
    verdict = estimates.HOLDS if is_decided else estimates.UNDECIDED
    return Evidence("C2", task, name, text, verdict, where)


def _less(row, other, name):
    """Returns the interval of the difference of two intervals."""
    lower, upper = f"{name}_lower", f"{name}_upper"
    return row[lower] - other[upper], row[upper] - other[lower]


def shattering(runs, source):
    """Returns the evidence on C3."""
    found = []
    for kind, trend in shattering_summary.trends(runs).items():
        text = _rank_text(vars(trend))
        is_rectifier = "relu" in kind
        verdict = estimates.verdict(trend, -1) if is_rectifier else CONTROL
        if not math.isfinite(trend.value):
            text = "the same autocorrelation at every depth"
        found.append(
            Evidence("C3", "initialisation", kind, text, verdict, f"{source}/trends/{kind}")
        )
    return found


def _rank_text(found):
    p_value = cells.number(found["p_value"], 2)
    return f"rank correlation {cells.estimate(found, 2)}, p {p_value}"


def exploring(task, summary, source):
    """Returns the evidence on C4 of a task's exploration."""
    found = []
    effect = summary["normalization"]
    if effect:
        more = estimates.from_json(effect["switches a rectifier"])
        lower = estimates.from_json(effect["Taylor optimum"])
        verdicts = {estimates.verdict(more, 1), estimates.verdict(lower, -1)}
        text = f"switches {cells.estimate(vars(more), 2)}, optimum {cells.estimate(vars(lower), 2)}"
        subject = "RMS-normalised less plain SGD"
        where = f"{source}/summary/normalization"
        found.append(Evidence("C4", task, subject, text, together(verdicts), where))
    for number, row in enumerate(summary["claims"]):
        if row["measure"] == "switches a rectifier":
            text = _rank_text(row)
            text += "" if row["is_ranked"] else "; intervals of the optima overlap"
            subject = f"switches and {row['outcome']}"
            where = f"{source}/summary/claims/{number}"
            found.append(Evidence("C4", task, subject, text, row["verdict"], where))
    return found


def better_solutions(task, tuned, source):
    """Returns the evidence on C4 of a task's tuned comparison: final losses less plain SGD's.

    Args:
        task: The task.
        tuned: The summary of `experiments.optimizer_comparison`.
        source: The directory of its results.
    """
    plain = tuned.get("sgd", {"by_seed": []})["by_seed"]
    found = []
    for name in ADAPTIVE:
        if name not in tuned or not plain or len(tuned[name]["by_seed"]) != len(plain):
            continue
        less = estimates.difference(tuned[name]["by_seed"], plain)
        text = f"final training loss {cells.estimate(vars(less), 2)}"
        verdict = estimates.verdict(less, -1)
        where = f"{source}/summary/{name}/by_seed"
        found.append(Evidence("C4", task, f"{name} less plain SGD, tuned", text, verdict, where))
    return found


def table(evidence):
    """Returns header and rows: the verdict on each claim that follows from all its evidence."""
    header = ("claim", "says", "verdict", "evidence")
    rows = []
    for claim, text in claim_texts.CLAIMS.items():
        pieces = [piece for piece in evidence if piece.claim == claim]
        verdicts = [piece.verdict for piece in pieces]
        overall = together(verdicts) if pieces else "not measured"
        rows.append((claim, text, overall, counted(verdicts) or "–"))
    return header, rows


def evidence_table(evidence):
    """Returns header and rows: every piece of evidence."""
    header = ("claim", "task", "about", "evidence", "verdict", "row of results.json")
    return header, [(p.claim, p.task, p.subject, p.text, p.verdict, p.source) for p in evidence]
