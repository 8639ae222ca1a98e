"""One writer at a time in a directory, by a lock that the kernel releases when its process ends."""

import contextlib
import os
import socket
import warnings

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"


@contextlib.contextmanager
def locked(directory):
    """Context in which no other call, of this process or another, can hold the directory.

    The lock is on the file `.lock`, which holds the process and its host, and is removed at the
    end. A process that is killed leaves the file behind and no lock. Where there is no `flock` (on
    Windows, and on some file systems of clusters, which a warning says), nothing is locked.

    Args:
        directory: A `pathlib.Path`, which exists.

    Raises:
        ValueError: if the directory is held; the message names the process.

    Example:

    >>> import pathlib, tempfile
    >>> directory = pathlib.Path(tempfile.mkdtemp())
    >>> with locked(directory):
    ...     print([file.name for file in directory.iterdir()])
    ['.lock']
    >>> list(directory.iterdir())
    []
    """
    if fcntl is None:
        yield
        return
    path = directory / LOCK
    file = _taken(path)
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
    finally:
        # Removed while it is held: whoever opened it meanwhile sees that it is gone.
        path.unlink(missing_ok=True)
        file.close()


def _taken(path):
    """Returns the open file once it is locked and still the one of that name."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _held(path, file) from None
        except OSError as error:
            warnings.warn(f"{path} cannot be locked ({error}): go on without", stacklevel=5)
            return file
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


def _held(path, file):
    with file:
        file.seek(0)
        holder = file.read() or "another process"
    return ValueError(
        f"{path.parent} is being recorded into by {holder}: wait for its end, end it, or name "
        "another directory"
    )
