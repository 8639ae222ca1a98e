"""Which rounds of a run are trained, recorded and read."""

import dataclasses

import numpy as np

from experiments.tasks.errors import UsageError
from keras_taylor.trajectory import sampling

# Rounds that are recorded by default.
RECORDED = 300


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many rounds a run has: first the burn-in, then the rounds that are looked at.

    Args:
        burn_in: Rounds of burn-in.
        recorded: The rounds after it.
        sample: How many of these are kept, as a random sample; `None` for all.
        examples: How many examples of each are kept, drawn at random; `None` for all.
    """

    burn_in: int
    recorded: int
    sample: int | None = None
    examples: int | None = None

    @property
    def steps(self):
        """The number of rounds that are trained, both together."""
        return self.burn_in + self.recorded


def plan(total, burn_in=None, recorded=None, sample=None, examples=None):
    """Returns the `Plan` of a run of at most `total` rounds.

    Args:
        total: The most rounds that may be trained.
        burn_in: Rounds of burn-in; by default all rounds before the recorded ones, which are then
            the last of the run, or none where rounds are a sample.
        recorded: Rounds that are looked at; by default 300, or fewer in a shorter run, and all
            where rounds are a sample.
        sample: As in `Plan`.
        examples: As in `Plan`.

    Raises:
        UsageError: if the run is too short, for these rounds or for a sample of them.
    """
    if sample is not None:
        recorded = recorded or max(1, total - (burn_in or 0))
    if recorded is None:
        recorded = max(1, min(RECORDED, total - (burn_in or 0)))
    found = Plan(total - recorded if burn_in is None else burn_in, recorded, sample, examples)
    if found.burn_in < 0 or found.steps > total:
        raise UsageError(
            f"--burn_in={max(found.burn_in, 0)} and --recorded_rounds={recorded} need more rounds "
            f"than the {total} of the run: lower them, or raise --epochs or --max_steps"
        )
    if sample is not None:
        _check_sample(found)
    return found


def _check_sample(found):
    """Raises a UsageError, before any training, where the rounds are too few for a sample."""
    try:
        sampling.strata(found.recorded, found.sample, 0, separate=found.examples is not None)
    except ValueError as error:
        raise UsageError(f"--sample={found.sample}: {error}") from error


def log_spaced(total, most, first=1):
    """Returns at most `most` rounds from `first` to `total`, evenly spread over their logarithms.

    Example:

    >>> log_spaced(1000, 4)
    [1, 10, 100, 1000]
    """
    if most == 1:
        return [total]
    return np.unique(np.rint(np.geomspace(first, total, most)).astype(int)).tolist()


def linearly_spaced(total, most):
    """Returns at most `most` rounds up to `total`, the ends of windows of equal length.

    Example:

    >>> linearly_spaced(100, 4)
    [25, 50, 75, 100]
    """
    return sorted({-(-total * index // most) for index in range(1, most + 1)})


def total_steps(steps_per_epoch, epochs, max_steps=None):
    """Returns the number of rounds of a run: all of its epochs, or `max_steps` if fewer."""
    steps = steps_per_epoch * epochs
    return steps if max_steps is None else min(steps, max_steps)
