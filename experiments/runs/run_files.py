"""Files of finished runs: each tells whether it is as it was written.

A run is JSON with the SHA-256 of all else in it, so that one that was cut off or changed is told
from one that is done, and is trained again.
"""

import hashlib
import json

import rich

from experiments.runs import results

CHECKSUM = "sha256"


def run_once(path, train, label=None):
    """Returns the run that a file holds; where there is none, trains the run and writes it.

    A damaged file counts as none, which a message says.

    Args:
        path: The run's JSON file.
        train: Function without arguments that returns the run, a dictionary. The versions and the
            machine are added to it as `environment`.
        label: Name of the run for a message if it is skipped; no message if `None`.
    """
    held = read(path)
    if held is None:
        write(path, train() | {"environment": results.environment()})
        return read(path)
    if label is not None:
        rich.print(f"{label}: already in {path}, skipped")
    return held


def write(path, run):
    """Writes a run, a dictionary, with its checksum, completely or not at all."""
    run = {name: item for name, item in results.jsonable(run).items() if name != CHECKSUM}
    results.write_json(path, run | {CHECKSUM: _digest(run)})


def read(path):
    """Returns the run that a file holds, or `None` where there is no file.

    A damaged file is removed, which a message says, and counts as none.
    """
    try:
        run = results.read_json(path)
    except FileNotFoundError:
        return None
    except ValueError:
        run = {}
    if isinstance(run, dict) and run.pop(CHECKSUM, None) == _digest(run):
        return run
    path.unlink()
    rich.print(f"{path} is damaged, not as it was written: this run is trained again")
    return None


def _digest(run):
    return hashlib.sha256(json.dumps(run).encode("utf-8")).hexdigest()
