"""Requests of a solver, and the budget of passes that answers them.

A solver is a generator: it yields a request and is sent the answer. Points and vectors are float64
vectors of one part's weights.
"""

import math
from typing import NamedTuple

import numpy as np


class Evaluate(NamedTuple):
    """Asks for F and its gradient at a point, in the precision of bounds. One pass.

    `width` is that of the smoothed loss, and 0 for the loss itself.
    """

    point: np.ndarray
    width: float = 0.0


class Multiply(NamedTuple):
    """Asks for the Gauss-Newton product `J' H J v`, with H at a point. One pass.

    `precise` asks for the precision of bounds instead of the model's.
    """

    point: np.ndarray
    vector: np.ndarray
    precise: bool = False
    width: float = 0.0


class Prepare(NamedTuple):
    """Asks for a preconditioner, a function of a residual and a positive shift. One pass."""


class Extend(NamedTuple):
    """Asks that `J v` be kept as the image of the next vector of the basis.

    It is part of the pass of the `Pull` that follows.
    """

    vector: np.ndarray


class Restrict(NamedTuple):
    """Asks for F, gradient and Hessian in z at `c + B'z`, from the images. No pass."""

    z: np.ndarray
    width: float = 0.0


class Pull(NamedTuple):
    """Asks for F and its gradient in the weights at `c + B'z`, from the images. One pass."""

    z: np.ndarray
    width: float = 0.0


FREE = (Extend, Restrict)


class OutOfPassesError(Exception):
    """Thrown into a solver at a request that is not answered: no pass is left, or Ctrl-C."""


class Budget:
    """The passes of one solve.

    Args:
        max_passes: The most passes, or `None`.

    Attributes:
        num_passes: The passes taken.
        reserved: Passes that are kept for later.
        interrupted: Whether Ctrl-C ended the solve. Then one pass is left, to evaluate what was
            found.
        promised_gap: The gap that the model of F promises before F is evaluated.
    """

    def __init__(self, max_passes=None):
        self._most = math.inf if max_passes is None else max_passes
        self.num_passes, self.reserved = 0, 0
        self.interrupted, self.promised_gap = False, math.nan

    def interrupt(self):
        """Leaves one pass."""
        self.interrupted = True
        self._most = min(self._most, self.num_passes + self.reserved + 1)

    def has_left(self, passes):
        """Whether this number of passes is left; after an interrupt only the last one is."""
        return not self.interrupted and self._left >= passes

    def take(self, request):
        """Counts the pass of a request; raises an `OutOfPassesError` if none is left."""
        if not isinstance(request, FREE):
            if self._left < 1:
                raise OutOfPassesError
            self.num_passes += 1

    @property
    def _left(self):
        return self._most - self.reserved - self.num_passes
