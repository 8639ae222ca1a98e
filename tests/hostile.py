"""What goes wrong with the files of a recording, at random, and what reads all of them."""

import keras_taylor as kt


def flip(path, generator):
    """Flips one bit of one file of a recording; returns a function that undoes it, and the file."""
    files = sorted(file for file in path.iterdir() if file.stat().st_size)
    file = files[generator.integers(len(files))]
    content = file.read_bytes()
    spoiled = bytearray(content)
    spoiled[generator.integers(len(content))] ^= 1 << generator.integers(8)
    file.write_bytes(spoiled)
    return lambda: file.write_bytes(content), file


def read_all(path, resume, solve=None):
    """Reads all that a recording has, in every way that there is.

    Args:
        path: The directory.
        resume: Function without arguments that goes on with the recording.
        solve: Function of the trajectory that solves for its optimum; `None` for no solve.

    Returns:
        By the name of the way, the error that it raised or `None`.
    """

    def iterate():
        trajectory = kt.Trajectory(path)
        assert len(list(trajectory)) == len(trajectory)
        assert trajectory.first_weights
        assert not trajectory.is_sampled or trajectory.sums.ends

    ways = {"iteration": iterate}
    if solve is not None:
        ways["optimum"] = lambda: solve(kt.Trajectory(path))
    # Last, since it mends what the checkpoint has.
    ways["resume"] = resume
    return {name: _error(way) for name, way in ways.items()}


def _error(way):
    try:
        way()
    except Exception as error:
        return error
    return None


def is_told(error, file):
    """Tells whether an error is one that a user understands: of its own kind, with the file."""
    return isinstance(error, (ValueError, FileNotFoundError)) and file.name in str(error)
