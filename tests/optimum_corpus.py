"""Answers of the solver on the recorded runs of `corpus_runs`.

Write those of the package that is imported (minutes), of all runs or of some:

    python tests/optimum_corpus.py --output=FILE [--only=PART_OF_A_NAME]

Compare two versions of the package:

    PYTHONPATH=OLD_TREE python tests/optimum_corpus.py --output=old.json
    PYTHONPATH=NEW_TREE python tests/optimum_corpus.py --output=new.json
    python tests/corpus_answers.py old.json new.json
"""

import argparse
import math
import os
import pathlib
import platform
import subprocess
import tempfile
import time
from collections.abc import Mapping

import keras
import numpy as np
import scipy
import tensorflow as tf
from corpus_answers import FIELDS, entry_of, write
from corpus_runs import RUNS, named

import keras_taylor as kt

MAX_PASSES = 200
# Columns of a decomposition for fields of an optimum.
ROW_FIELDS = {
    "lower_bound": "optimum_lower",
    "value": "optimum_upper",
    "lower_error": "optimum_lower_error",
    "value_error": "optimum_upper_error",
}


def names(run):
    """Returns the names of a run's entries."""
    solves = [
        f"{run.name}/{scope}/{_text(factor)}/{tolerance:g}" for scope, factor, tolerance in run.plan
    ]
    return solves + [f"{run.name}/decompose"] * bool(run.horizons)


def answers(run, directory):
    """Records a run and yields its entries."""
    with run.precision():
        model, trajectory = run.recorded(pathlib.Path(directory) / "run")
        for name, (scope, factor, tolerance) in zip(names(run), run.plan, strict=False):
            yield entry_of(name, *_solved(trajectory, model, scope, factor, tolerance))
        if run.horizons:
            yield entry_of(names(run)[-1], *_decomposed(trajectory, model, run.horizons))


def _solved(trajectory, model, scope, factor, tolerance):
    """Returns a dictionary for each optimum, and the seconds of the call."""
    keys = _keys(model)
    scope = scope.replace(":first", f":{keys[0]}").replace(":last", f":{keys[-1]}")
    radius, options = _radius(trajectory, model, scope, factor), {"max_passes": MAX_PASSES}
    begin = time.perf_counter()
    found = named(kt.taylor_optimum)(
        trajectory, model, scope, radius=radius, tolerance=tolerance, verbose=0, **options
    )
    seconds = time.perf_counter() - begin
    return [{field: getattr(one, field) for field in FIELDS} for one in _flat(found)], seconds


def _decomposed(trajectory, model, horizons):
    """Returns a dictionary for each row, and the seconds of the call."""
    options = {"rounds": list(horizons), "max_passes": MAX_PASSES}
    begin = time.perf_counter()
    table = named(kt.decompose)(trajectory, model, tolerance=0.01, verbose=0, **options)
    seconds = time.perf_counter() - begin
    fields = [field for field in FIELDS if field != "reason"]
    rows = [{f: row[ROW_FIELDS.get(f, f)] for f in fields} for row in table.rows]
    return [
        row | {"part": f"{row['part']}@{all_of['rounds']}", "reason": ""}
        for row, all_of in zip(rows, table.rows, strict=True)
    ], seconds


def _flat(found):
    """Returns all `Optimum`s of a result in a list."""
    found = list(found.values()) if isinstance(found, Mapping) else found
    is_one = not isinstance(found, (list, tuple))
    return [found] if is_one else [one for each in found for one in _flat(each)]


def _text(factor):
    return ",".join(map(_text, factor)) if isinstance(factor, tuple) else f"{factor or 1}x"


def _keys(model):
    """Returns the key of each weight's layer."""
    return [variable.path.rpartition("/")[0] for variable in model.trainable_variables]


def _radius(trajectory, model, scope, factor):
    """Returns the radius that is a multiple of the distance of a scope, or a list for several."""
    if isinstance(factor, tuple):
        return [_radius(trajectory, model, scope, one) for one in factor]
    if factor is None:
        return None
    rounds, keys = [one.weights for one in trajectory], _keys(model)
    longest = max(_distance(keys, scope, weights, rounds[0]) for weights in rounds)
    # So few digits that it is the same where training differs by rounding.
    return float(f"{factor * longest:.4g}")


def _distance(keys, scope, weights, first):
    """Returns the distance of weights in the one part that a scope names, or in the network."""
    kind, _, key = scope.partition(":")
    key, _, unit = key.rpartition("/") if kind == "unit" else (key, "", "")
    moves = [
        np.subtract(w, f, dtype="float64")
        for name, w, f in zip(keys, weights, first, strict=True)
        if key in ("", name)
    ]
    return math.sqrt(sum(np.sum((m[..., int(unit)] if unit else m) ** 2) for m in moves))


def header():
    """Returns what answers depend on besides the corpus."""
    tree = pathlib.Path(kt.__file__).parent
    git = ["git", "-C", str(tree), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    versions = {module.__name__: module.__version__ for module in (tf, keras, np, scipy)}
    python = {"python": platform.python_version(), "cores": os.cpu_count()}
    return {"commit": commit or "unknown"} | versions | python


def main():
    parser = argparse.ArgumentParser(description="Writes the solver's answers on the corpus.")
    parser.add_argument("--output", required=True, help="the file to write")
    parser.add_argument("--only", default="", help="a part of the names of the runs to solve")
    arguments, entries = parser.parse_args(), []
    for run in RUNS:
        if arguments.only in run.name:
            with tempfile.TemporaryDirectory() as directory:
                for entry in answers(run, directory):
                    print(f"{entry['seconds']:8.2f} s  {entry['name']}", flush=True)
                    entries.append(entry)
    write(arguments.output, header(), entries)
    print(f"{len(entries)} entries, {sum(entry['seconds'] for entry in entries):.0f} s of solves")


if __name__ == "__main__":
    main()
