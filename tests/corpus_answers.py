"""Files of the solver's answers on the corpus, and how two of them compare.

    python tests/corpus_answers.py OLD NEW

prints the entries of NEW that are worse than those of OLD, and the sums of passes and seconds.
"""

import argparse
import json
import math
import pathlib
import sys

DIGITS = 10
FIELDS = (
    "part",
    "radius",
    "lower_bound",
    "value",
    "lower_error",
    "value_error",
    "average_loss",
    "converged",
    "reason",
    "passes",
)
# More passes than this are worse; a solve of few passes may take some more.
MORE_PASSES, SPARE_PASSES = 1.2, 2
SLOWER, SPARE_SECONDS = 1.5, 0.1
# Estimates from the same sample lie this close, in standard errors.
ERRORS = 4


def entry_of(name, rows, seconds):
    """Returns the entry of a call, from a dictionary of `FIELDS` for each optimum.

    A field is a list, or the one value that all optima share.
    """
    columns = {field: [_rounded(row[field]) for row in rows] for field in FIELDS}
    packed = {f: c[0] if len(set(map(str, c))) == 1 else c for f, c in columns.items()}
    return {"name": name, "count": len(rows), **packed, "seconds": round(seconds, 3)}


def _rounded(value):
    is_exact = isinstance(value, (str, bool, int))
    return value if is_exact else float(f"{float(value):.{DIGITS}g}")


def rows_of(entry):
    """Returns a dictionary of `FIELDS` for each optimum of an entry."""
    columns = [entry[field] for field in FIELDS]
    columns = [c if isinstance(c, list) else [c] * entry["count"] for c in columns]
    return [dict(zip(FIELDS, values, strict=True)) for values in zip(*columns, strict=True)]


def total_passes(entry):
    """Returns the passes of an entry. A list of radii for one part shares them."""
    return sum({row["part"]: row["passes"] for row in rows_of(entry)}.values())


def write(file, header, entries):
    """Writes a header and entries, one in a line."""
    lines = [json.dumps(one, separators=(",", ":")) for one in (header, *entries)]
    pathlib.Path(file).write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def read(file):
    """Returns the header of a file and its entries by name."""
    header, *entries = json.loads(pathlib.Path(file).read_text(encoding="utf-8"))
    return header, {entry["name"]: entry for entry in entries}


def faults(old, new):
    """Returns what is worse in a new entry than in the old one, besides seconds: sentences."""
    olds, news = rows_of(old), rows_of(new)
    parts = [[row["part"] for row in rows] for rows in (olds, news)]
    if parts[0] != parts[1]:
        return [f"the parts are {parts[1]}, {parts[0]} before"]
    found = [text for pair in zip(olds, news, strict=True) for text in _faults_of_one(*pair)]
    before, after = total_passes(old), total_passes(new)
    if after > MORE_PASSES * before + SPARE_PASSES:
        found.append(f"{after} passes, {before} before")
    return found


def _faults_of_one(old, new):
    if old["converged"] and not new["converged"]:
        yield f"{old['part']} no longer converges: {new['reason'] or 'unknown why'}"
    if math.isfinite(old["value"]) and not _do_overlap(old, new):
        yield f"{old['part']} lies in {_ends(new)}, in {_ends(old)} before"


def _do_overlap(old, new):
    """Tells whether two intervals of the same optimum have a point in common."""
    (low, high), (other_low, other_high) = _ends(old), _ends(new)
    # Weights that were trained on another machine differ a little, and so do their optima.
    moved = abs(old["average_loss"] - new["average_loss"])
    room = 1e-9 * abs(old["value"]) + (10 * moved if math.isfinite(moved) else 0.0)
    return max(low, other_low) <= min(high, other_high) + room


def _ends(row):
    low = row["lower_bound"] - ERRORS * row["lower_error"]
    return low, row["value"] + ERRORS * row["value_error"]


def compare(old_file, new_file):
    """Prints how two files compare; returns the number of entries that are worse."""
    (old_header, old), (new_header, new) = read(old_file), read(new_file)
    shared = [name for name in old if name in new]
    print(f"before: {old_header}\nafter:  {new_header}")
    print(f"{len(shared)} entries in both, {len(old) + len(new) - 2 * len(shared)} in one alone")
    bad = sum(_shown(name, old[name], new[name]) for name in shared)
    for what, of in (("passes", total_passes), ("seconds", lambda entry: entry["seconds"])):
        before, after = (sum(of(entries[name]) for name in shared) for entries in (old, new))
        print(f"{what}: {before:.6g} before, {after:.6g} after, {after / before:.3f} times as many")
    print(f"{bad} entries are worse, apart from seconds")
    return bad


def _shown(name, old, new):
    """Prints a row if an entry is worse; tells whether it is, apart from seconds."""
    found, slower = faults(old, new), []
    before, after = old["seconds"], new["seconds"]
    if after > max(SLOWER * before, before + SPARE_SECONDS):
        slower = [f"{after / before:.1f} times the seconds"]
    if found or slower:
        passes = f"{total_passes(old):6} to {total_passes(new):6} passes"
        seconds = f"{before:7.2f} to {after:7.2f} s"
        print(f"{name:<58} {passes} {seconds}  {'; '.join(found + slower)}")
    return bool(found)


def main():
    parser = argparse.ArgumentParser(description="Compares two files of answers on the corpus.")
    parser.add_argument("old", help="file of answers")
    parser.add_argument("new", help="file of answers")
    arguments = parser.parse_args()
    sys.exit(bool(compare(arguments.old, arguments.new)))


if __name__ == "__main__":
    main()
