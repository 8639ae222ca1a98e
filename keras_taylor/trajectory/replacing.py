"""Writing files as a whole: a reader sees the old file or the new one, never half of one."""

import contextlib
import os


@contextlib.contextmanager
def replacing(path):
    """Context that opens a file for bytes and, once it is written, gives it the name `path`.

    If the context ends with an error, the file at `path` stays as it was.

    Args:
        path: A `pathlib.Path`.

    Example:

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "file"
    >>> with replacing(path) as file:
    ...     file.write(b"whole")
    5
    >>> path.read_bytes()
    b'whole'
    """
    partial = partial_path(path)
    try:
        with partial.open("w+b") as file:
            yield file
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def partial_path(path):
    """Returns the file that `replacing` writes first; a killed process may leave it behind."""
    return path.with_name(f".{path.name}")
