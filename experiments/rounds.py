"""At which rounds of a run something is read."""

import numpy as np


def log_spaced(total, count):
    """Returns at most `count` rounds from 1 to `total`, evenly spread over their logarithms."""
    return np.unique(np.rint(np.geomspace(1, total, count)).astype(int)).tolist()


def linearly_spaced(total, count):
    """Returns at most `count` rounds up to `total`, evenly spread; the windows between them."""
    return sorted({-(-total * index // count) for index in range(1, count + 1)})


def total_steps(steps_per_epoch, epochs, max_steps=None):
    """Returns the number of rounds that a run trains."""
    steps = steps_per_epoch * epochs
    return steps if max_steps is None else min(steps, max_steps)
