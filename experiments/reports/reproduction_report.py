"""The report of `experiments.reproduce`: claims first, then the experiments' own sections."""

import dataclasses
import functools

from experiments.analysis import (
    claim_texts,
    claims,
    exploration_summary,
    regret_claims,
    shattering_summary,
)
from experiments.reports import (
    comparison_report,
    drawing,
    exploration_report,
    formatting,
    regret_figures,
    regret_report,
    regret_tables,
    report,
    shattering_report,
)
from experiments.runs import results
from experiments.runs.presets import FROM_MIDDLE


def evidence_of(by_task, shattering):
    """Returns all pieces of evidence on all claims.

    Args:
        by_task: The results of each task's experiments, `{task: {experiment: results}}`.
        shattering: The results of `experiments.shattered_gradients`.
    """
    found = []
    for task, of_task in by_task.items():
        if "decomposition" in of_task:
            found += _of_decomposition(task, of_task["decomposition"])
        if FROM_MIDDLE in of_task:
            runs, place = of_task[FROM_MIDDLE]["runs"], f"{task}/{FROM_MIDDLE}"
            found += regret_claims.regret_growth(task, runs, place, ", from the middle")
        tuned = of_task["comparison"]["summary"]
        found += claims.better_solutions(task, tuned, f"{task}/comparison")
        if "exploration" in of_task:
            summary = exploration_summary.summarize(of_task["exploration"]["runs"])
            found += claims.exploring(task, summary, f"{task}/exploration")
    found += claims.shattering(shattering["runs"], "shattering")
    return sorted(found, key=lambda piece: piece.claim)


def _of_decomposition(task, split):
    source = f"{task}/decomposition"
    return [
        *regret_claims.guaranteed(task, split["runs"], source),
        *regret_claims.regret_growth(task, split["runs"], source),
        *claims.explained_loss(task, split["summaries"], source),
    ]


def seconds_of(by_task, shattering):
    """Returns how long the runs of each experiment took, and all together, without pauses."""
    found = {}
    for task, of_task in by_task.items():
        for name, experiment in of_task.items():
            # A tuned rate's first seed is in the grid too: `runs` has each once.
            found[f"{task}, {name}"] = sum(map(_run_seconds, experiment["runs"]))
    found["shattering"] = sum(map(_run_seconds, shattering["runs"]))
    return found | {"together": sum(found.values())}


def _environment(by_task, shattering):
    """Returns versions and machine; each of several values where runs differ."""
    experiments = [one for of_task in by_task.values() for one in of_task.values()]
    runs = [run for one in (*experiments, shattering) for run in one["runs"]]
    values = {}
    for run in runs:
        for name, value in run["environment"].items():
            values.setdefault(name, {})[str(value)] = None
    return {name: "; ".join(found) for name, found in values.items()}


def _run_seconds(run):
    return run["seconds"] if "seconds" in run else run["wall_seconds"] + run["solve_seconds"]


def write(directory, by_task, shattering, configuration):
    """Writes report, results and Markdown, and prints the claim table.

    `results.json` holds the evidence; the row that a piece of it names is in the `results.json` of
    the experiment's own directory.
    """
    evidence = evidence_of(by_task, shattering)
    environment = _environment(by_task, shattering)
    seconds = seconds_of(by_task, shattering)
    results.write_json(
        directory / "results.json",
        {
            "configuration": configuration,
            "environment": environment,
            "seconds": seconds,
            "claims": [
                dict(zip(("claim", "says", "verdict", "evidence"), row, strict=True))
                for row in claims.table(evidence)[1]
            ],
            "evidence": [dataclasses.asdict(piece) for piece in evidence],
        },
    )
    sections = [
        *_claim_sections(evidence),
        *(section for task in by_task.items() for section in _task_sections(*task)),
        *_titled(
            "Shattering",
            shattering_report.sections(
                shattering["runs"], shattering_summary.summarize(shattering["runs"])
            ),
        ),
        report.Section(
            "Time", names={name: f"{value / 60:.1f} minutes" for name, value in seconds.items()}
        ),
        *report.provenance(_short(configuration), environment),
    ]
    title = f"Neural Taylor approximations: {configuration['preset']} reproduction"
    lead = "Balduzzi, McWilliams, Butler-Yeoman, ICML 2017: which claims hold here, and why."
    report.write(directory / "report.html", title, lead, sections)
    results.write_text(directory / "report.md", markdown(title, lead, sections))
    for name, draw in _pictures(by_task, shattering).items():
        drawing.write_images(draw(), directory, name)
    rows = [(f"{claim}: {says}", *rest) for claim, says, *rest in claims.table(evidence)[1]]
    formatting.print_table("Claims", ("claim", "verdict", "evidence"), rows)


def markdown(title, lead, sections):
    """Returns the tables and texts of a report as Markdown."""
    lines = [f"# {title}", "", lead]
    for section in sections:
        lines += ["", f"## {section.title}"]
        for paragraph in section.paragraphs:
            lines += ["", paragraph]
        lines += [
            line for term, text in section.terms.items() for line in ("", f"**{term}**: {text}")
        ]
        if section.table is not None:
            lines += ["", _row(section.table.header), _row("---" for _ in section.table.header)]
            lines += [_row(cells) for cells in section.table.rows]
        lines += [
            line for name, value in section.names.items() for line in ("", f"- {name}: {value}")
        ]
    return "\n".join(lines) + "\n"


def _row(cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _claim_sections(evidence):
    return [
        report.Section(
            "Claim by claim", table=report.Table(*claims.table(evidence), text_columns=4)
        ),
        report.Section("How it was decided", terms=claim_texts.HOW_DECIDED),
        report.Section(
            "The evidence", table=report.Table(*claims.evidence_table(evidence), text_columns=6)
        ),
    ]


def _task_sections(task, of_task):
    tuned = of_task["comparison"]
    sections = comparison_report.sections(tuned["grid"], _best(tuned), tuned["summary"])
    if "decomposition" in of_task:
        split = of_task["decomposition"]
        # A run that diverged has fewer rounds.
        rounds = max(item["rounds"] for item in split["summaries"])
        sections += regret_report.sections(split["runs"], split["summaries"], rounds)
    if "exploration" in of_task:
        explored = of_task["exploration"]
        sections += exploration_report.sections(
            explored["runs"], exploration_summary.summarize(explored["runs"])
        )
    return _titled(task, sections)


def _best(tuned):
    rates = {name: row["best_rate"] for name, row in tuned["summary"].items()}
    return [run for run in tuned["runs"] if run["learning_rate"] == rates[run["optimizer"]]]


def _titled(title, sections):
    """Returns sections of other reports, which have written the files of their pictures."""
    return [
        dataclasses.replace(
            section,
            title=f"{title}: {section.title}",
            pictures=tuple(dataclasses.replace(each, file=None) for each in section.pictures),
        )
        for section in sections
    ]


def _pictures(by_task, shattering):
    found = {
        "half_widths": functools.partial(shattering_report.half_width_figure, shattering["runs"])
    }
    for task, of_task in by_task.items():
        summaries = of_task.get("decomposition", {}).get("summaries", [])
        if "network" in regret_tables.parts_of(summaries):
            found[f"{task}_decomposition"] = functools.partial(
                regret_figures.decomposition_figure, summaries
            )
    return found


def _short(configuration):
    return {
        name: value for name, value in configuration.items() if name not in ("tasks", "shattering")
    } | {
        plan["task"]: ", ".join(f"{key} {value}" for key, value in plan.items() if key != "task")
        for plan in configuration["tasks"]
    }
