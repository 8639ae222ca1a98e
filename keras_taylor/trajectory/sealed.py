"""Files that tell whether they are as they were written, and of which run.

A sealed JSON file ends in the SHA-256 of all that stands before, `, "sha256": "<64 digits>"}`; a
sealed file of arrays is what `numpy.savez` writes, followed by 64 digits. Both hold the id of their
run. JSON and NumPy read them as they read others.
"""

import hashlib
import json
import zipfile

import numpy as np

from keras_taylor.trajectory.replacing import replacing

SEAL = b', "sha256": "'
DIGITS = 64
CHUNK = 2**20


def write_json(path, value):
    """Writes a dictionary that is not empty, `run` among its keys, as sealed JSON."""
    body = json.dumps(value).encode("utf-8").removesuffix(b"}")
    with replacing(path) as file:
        file.write(body + SEAL + hashlib.sha256(body).hexdigest().encode() + b'"}')


def read_json(path, run=None):
    """Returns the dictionary that `write_json` wrote.

    Args:
        path: A `pathlib.Path`.
        run: The id of the run that it has to be of; `None` for any.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if the file is not as it was written, or of another run.
    """
    body, seal, end = path.read_bytes().rpartition(SEAL)
    if not seal or end != hashlib.sha256(body).hexdigest().encode() + b'"}':
        raise _damaged(path)
    value = json.loads(body + b"}")
    _check_run(path, value["run"], run)
    return value


def write_arrays(path, run, arrays, **named):
    """Writes arrays as `numpy.savez` does, `arr_0`, `arr_1`, ... and those with a name, sealed."""
    with replacing(path) as file:
        np.savez(file, *arrays, run=run, **named)
        file.write(_digest(file, file.tell()))


def read_arrays(path, run):
    """Returns what `write_arrays` wrote: the list of arrays, and those with a name by name.

    Args:
        path: A `pathlib.Path`.
        run: The id of the run that it has to be of.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if the file is not as it was written, or of another run.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2) - DIGITS
        if size < 0 or _digest(file, size) != file.read():
            raise _damaged(path)
    try:
        with np.load(path) as saved:
            named = {name: saved[name] for name in saved.files}
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path) from error
    _check_run(path, str(named.pop("run")), run)
    count = sum(name.startswith("arr_") for name in named)
    return [named.pop(f"arr_{index}") for index in range(count)], named


def _digest(file, size):
    """Returns the digits of the first bytes of a file, and leaves it behind these."""
    file.seek(0)
    digest = hashlib.sha256()
    while size:
        chunk = file.read(min(size, CHUNK))
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest().encode()


def _damaged(path):
    return ValueError(
        f"{path} is damaged: it is not as keras_taylor.record wrote it (its checksum differs). "
        "Take it from a copy, or record again"
    )


def _check_run(path, found, expected):
    if expected is not None and found != expected:
        raise ValueError(
            f"{path} is of another run: it has the id {found}, the manifest beside it {expected}. "
            "Take the files of one recording, or record again"
        )
