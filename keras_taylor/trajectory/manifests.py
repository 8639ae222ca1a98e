"""The file that says what a recording is of: the run, model, loss, layout and choice of rounds."""

import json

from keras_taylor.trajectory import sealed
from keras_taylor.version import __version__

MANIFEST = "manifest.json"
# The version of all files of a recording together.
FORMAT = 2


def write(path, manifest):
    """Writes a manifest, a dictionary with the id of its run as `run`, into a directory."""
    sealed.write_json(path / MANIFEST, {"format": FORMAT} | manifest)


def read(path):
    """Returns the manifest in a directory.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, or of a version that this one does not read.
    """
    file = path / MANIFEST
    try:
        manifest = sealed.read_json(file)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} holds no trajectory: expected a directory that keras_taylor.record wrote"
        ) from error
    except ValueError:
        _refuse_older(file)
        raise
    if manifest["format"] != FORMAT:
        raise _other_version(file, manifest["format"], manifest)
    return manifest


def _refuse_older(file):
    """Raises a ValueError if a file is of a version that had neither number nor checksum."""
    try:
        manifest = json.loads(file.read_bytes())
    except ValueError:
        return
    if "layout" in manifest and not {"format", "run"} & set(manifest):
        raise _other_version(file, 1, manifest) from None


def _other_version(file, found, manifest):
    by = manifest.get("versions", {}).get("keras_taylor", "another version")
    return ValueError(
        f"{file} has format {found}, written by keras_taylor {by}; this is keras_taylor "
        f"{__version__}, which reads format {FORMAT}: read it with that version, or record again"
    )
