"""What a solve found: the Taylor optimum of one part, as an interval."""

import dataclasses
import math

from keras_taylor.optimum.estimates import quantile
from keras_taylor.weights.arguments import check_level

CONVERGED, OUT_OF_PASSES, INTERRUPTED = "converged", "out of passes", "interrupted"
STALLED, NOT_FINITE = "stalled by rounding", "not finite"


@dataclasses.dataclass(frozen=True)
class Optimum:
    """The Taylor optimum of one part of the weights over recorded rounds, from `taylor_optimum`.

    Values are averages over the rounds, in units of the loss. Where all rounds were kept, the
    optimum is proved to lie between `lower_bound` and `value`. Where they are a sample of the run,
    these are estimates of such bounds, and `interval` takes their errors into account.

    Args:
        part: `"network"`, `"layer:<key>"` or `"unit:<key>/<number>"`.
        value: `F` at the comparator plus an allowance for rounding: an upper bound of the optimum.
            Of a sample, the average loss of the run less the regret against the comparator in the
            check sample.
        lower_bound: A lower bound of the optimum. Of a sample, that over the fit sample, moved by
            the difference of the average losses of the run and of the fit sample. On average it is
            at most the optimum, since the minimum over a sample fits the sample.
        radius: R of the ball of comparators about `W^1`.
        comparator: The comparator, arrays like the weights; outside of the part those of `W^1`.
        passes: Passes over the rounds that the solve took, for all radii of a list together.
        converged: Whether the gap over the rounds solved over, without the allowance for rounding,
            is as small as the tolerance asks for.
        reason: Why the solve ended: `"converged"`, `"out of passes"`, `"interrupted"`,
            `"stalled by rounding"`, or `"not finite"`, where the Taylor losses are.
        average_loss: The average loss of the rounds, of all that were trained; NaN, and regret with
            it, where the loss solved for is another one.
        value_error: The standard error of `value`; 0 where every round is kept.
        lower_error: The standard error of `lower_bound`; 0 where every round is kept.
        freedoms: Degrees of freedom of the two errors, by which `interval` widens.
    """

    part: str
    value: float
    lower_bound: float
    radius: float
    comparator: list
    passes: int
    converged: bool
    reason: str
    average_loss: float
    value_error: float = 0.0
    lower_error: float = 0.0
    freedoms: tuple = (math.inf, math.inf)

    @property
    def gap(self):
        """The distance of the bounds: `value - lower_bound`."""
        return self.value - self.lower_bound

    def interval(self, level=0.95):
        """Returns the ends of an interval that covers the optimum with that probability.

        `(lower_bound - t lower_error, value + t value_error)`, t a quantile of Student's
        distribution. Where every round is kept, `(lower_bound, value)`, whatever the level.

        Args:
            level: The probability, between 0 and 1.

        Raises:
            ValueError: if the level is no number between 0 and 1.
        """
        check_level(level)
        ends = (self.lower_bound, -self.lower_error), (self.value, self.value_error)
        return tuple(
            end if not error else end + error * quantile(level, freedom)
            for (end, error), freedom in zip(ends, self.freedoms, strict=True)
        )

    @property
    def average_regret(self):
        """The bounds of average Taylor regret, average loss - optimum, without their errors."""
        return self.average_loss - self.value, self.average_loss - self.lower_bound
