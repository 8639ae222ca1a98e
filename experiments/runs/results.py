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
        UsageError: if it holds another configuration's results, or files of unknown origin, or
            nothing can be written there.
    """
    directory = pathlib.Path(directory)
    path = directory / CONFIGURATION
    try:
        if path.exists():
            _refuse_another(directory, read_finished(path), jsonable(configuration))
        else:
            _refuse_foreign_files(directory)
        # Also where it is there already: before hours of training, this shows that one may write.
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


def read_finished(path):
    """Reads a JSON file that an experiment wrote, an object.

    Raises:
        UsageError: if there is no file, or it is damaged.
    """
    try:
        found = read_json(path)
    except FileNotFoundError as error:
        raise UsageError(
            f"{path.parent} holds no results, it has no {path.name}: train first"
        ) from error
    except ValueError:
        found = None
    if not isinstance(found, dict):
        # Without its configuration, nobody knows what the rest of a directory is.
        damaged = path.parent if path.name == CONFIGURATION else path
        raise UsageError(f"{path} is damaged, no JSON object: remove {damaged} and train again")
    return found


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

    Raises:
        UsageError: if it cannot be written.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
        with partial.open(mode, **text) as file:
            yield file
        partial.replace(path)
    except OSError as error:
        # A full disk does not say which file it was.
        raise UsageError(f"cannot write {path}: {error}") from error
    finally:
        with contextlib.suppress(OSError):
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
