"""A copy of results that is small enough to keep in a repository: numbers and pictures."""

import json
import pathlib
import shutil

from experiments.runs import results

DIGITS = 6
RESULTS = "results.json"
# Of single units, the curve that a claim is about.
UNIT_CURVE = "relative_regret"


def condense(source, target):
    """Copies results, without runs, trajectories, logs, CSV and HTML, which repeat them.

    Numbers have six significant digits, and of the curves of single units only the relative
    regret is left.

    Args:
        source: Directory of results, with directories of results below.
        target: Directory to write to.
    """
    source, target = pathlib.Path(source), pathlib.Path(target)
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.name in (RESULTS, results.CONFIGURATION):
            text = json.dumps(condensed(results.read_json(path)), separators=(",", ":"))
            results.write_text(place, text + "\n")
        elif path.suffix == ".png":
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def condensed(value):
    """Returns a value of JSON with its numbers rounded and without curves of single units."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list):
        return [condensed(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: condensed(item) for key, item in value.items()}
    if "unit_progress" in value:
        found["units"] = {
            layer: {name: curve for name, curve in curves.items() if name == UNIT_CURVE}
            for layer, curves in found["units"].items()
        }
    return found
