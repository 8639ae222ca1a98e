"""Which rounds of a run are trained, recorded and read."""

import dataclasses

import numpy as np

from experiments.runs.errors import UsageError

# Rounds that are recorded when no number is asked for.
RECORDED = 300


@dataclasses.dataclass(frozen=True)
class Plan:
    """Rounds of burn-in, and rounds that are tracked and recorded after them."""

    burn_in: int
    recorded: int

    @property
    def steps(self):
        """All rounds that are trained."""
        return self.burn_in + self.recorded


def plan(total, burn_in=None, recorded=None):
    """Returns the `Plan` of a run of at most `total` rounds.

    Without a burn-in the recorded rounds are the last of the run.

    Raises:
        UsageError: if the run is too short for what was asked for.
    """
    if recorded is None:
        recorded = max(1, min(RECORDED, total - (burn_in or 0)))
    found = Plan(total - recorded if burn_in is None else burn_in, recorded)
    if found.burn_in < 0 or found.steps > total:
        raise UsageError(
            f"--burn_in={max(found.burn_in, 0)} and --recorded_rounds={recorded} need more rounds "
            f"than the {total} of the run: lower them, or raise --epochs or --max_steps"
        )
    return found


def log_spaced(total, count, first=1):
    """Returns at most `count` rounds up to `total`, evenly spread over their logarithms."""
    if count == 1:
        return [total]
    return np.unique(np.rint(np.geomspace(first, total, count)).astype(int)).tolist()


def linearly_spaced(total, count):
    """Returns at most `count` rounds up to `total`, evenly spread; the windows between them."""
    return sorted({-(-total * index // count) for index in range(1, count + 1)})


def total_steps(steps_per_epoch, epochs, max_steps=None):
    """Returns the number of rounds that a run trains."""
    steps = steps_per_epoch * epochs
    return steps if max_steps is None else min(steps, max_steps)
