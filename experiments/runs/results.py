"""Results on disk: one directory holds one configuration's results, each run in one file."""

import contextlib
import csv
import json
import math
import os
import pathlib
import platform
import shlex
import sys
from importlib import metadata

import numpy as np
import rich

from experiments.tasks.errors import UsageError

CONFIGURATION = "configuration.json"
PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "tensorflow-datasets", "keras-taylor")


def claim(directory, configuration):
    """Reserves a directory for the results of one configuration, or continues in it.

    Args:
        directory: The directory; created if absent.
        configuration: A dictionary of everything that determines the results.

    Returns:
        The directory as a `pathlib.Path`.

    Raises:
        UsageError: if it holds another configuration's results, or files of unknown origin.
    """
    directory = pathlib.Path(directory)
    path = directory / CONFIGURATION
    if path.exists():
        _refuse_another(directory, read_json(path), jsonable(configuration))
        return directory
    try:
        _refuse_foreign_files(directory)
        directory.mkdir(parents=True, exist_ok=True)
        write_json(path, configuration)
    except OSError as error:
        raise UsageError(f"cannot write results to {directory}: {error}") from error
    return directory


def _refuse_another(directory, held, asked):
    differing = [name for name in {**held, **asked} if held.get(name) != asked.get(name)]
    if differing:
        listed = "; ".join(
            f"{name} is {held.get(name)!r} there, {asked.get(name)!r} was asked for"
            for name in differing
        )
        raise UsageError(
            f"{directory} holds results of another configuration ({listed}): "
            "name another --output_dir, or remove this one"
        )


def _refuse_foreign_files(directory):
    if directory.exists() and any(not path.name.startswith(".") for path in directory.iterdir()):
        raise UsageError(
            f"{directory} is not empty and holds no {CONFIGURATION}: "
            "name a new or empty directory as --output_dir"
        )


def run_once(path, train, label=None):
    """Returns the run that a file holds; where there is no file, trains the run and writes it.

    Args:
        path: The run's JSON file.
        train: Function without arguments that returns the run, a dictionary. The versions and the
            machine are added to it as `environment`.
        label: Name of the run for a message if it is skipped; no message if `None`.
    """
    if not path.exists():
        write_json(path, train() | {"environment": environment()})
    elif label is not None:
        rich.print(f"{label}: already in {path}, skipped")
    return read_json(path)


def jsonable(value):
    """Returns a value as JSON holds it: arrays as lists, numbers that are not finite as `None`."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_json(path):
    """Reads a JSON file."""
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def write_json(path, value):
    """Writes a value as JSON, completely or not at all."""
    write_text(path, json.dumps(jsonable(value), indent=1, allow_nan=False) + "\n")


def write_csv(path, columns, rows):
    """Writes rows (dictionaries) with a header; cells without a finite value are empty."""
    with replacing(path) as file:
        put_csv(file, columns, rows)


def put_csv(file, columns, rows):
    """Writes rows (dictionaries) with a header to an open file."""
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(jsonable(row) for row in rows)


def write_text(path, text):
    """Writes a text file, completely or not at all."""
    with replacing(path) as file:
        file.write(text)


@contextlib.contextmanager
def replacing(path, mode="w"):
    """Opens a file that takes the place of `path` when it is complete.

    Until then a reader sees the old file; after an error too.

    Args:
        path: The file to write; its directory is created.
        mode: `"w"` for text, `"wb"` for bytes.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
        with partial.open(mode, **text) as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def environment():
    """Returns the command line, the versions of packages and the machine."""
    return {
        "command_line": shlex.join(sys.argv),
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "processor_count": os.cpu_count(),
    }


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        # tensorflow-cpu and its siblings install the same modules under other names.
        module = sys.modules.get(package.replace("-", "_"))
        return getattr(module, "__version__", "unknown")
