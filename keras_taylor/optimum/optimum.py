"""What a solve found: the Taylor optimum of one part, as an interval."""

import dataclasses
import math

from keras_taylor.optimum.certificate import FRANK_WOLFE
from keras_taylor.optimum.sampling_error import quantile
from keras_taylor.printing import Printed, interval_text
from keras_taylor.weights.arguments import check_level

CONVERGED, OUT_OF_PASSES, INTERRUPTED = "converged", "out of passes", "interrupted"
STALLED, NOT_FINITE = "stalled by rounding", "not finite"


@dataclasses.dataclass(frozen=True, repr=False)
class Optimum(Printed):
    """The Taylor optimum of one part of the weights over recorded rounds, from `taylor_optimum`.

    Values are averages over the rounds, in units of the loss. If all rounds were kept, the optimum
    is certified to lie between `lower_bound` and `value`. If they are a sample of the run, these
    are estimates of such bounds, and `interval` takes their errors into account.

    Args:
        part: `"network"`, `"layer:<key>"` or `"unit:<key>/<number>"`.
        value: `F` at the comparator plus an allowance for rounding: an upper bound of the optimum.
            Of a sample, the average loss of the run less the regret against the comparator in the
            check sample.
        lower_bound: The highest lower bound at hand. Of a sample, that over the fit sample, moved
            by the difference of the average losses of the run and of the fit sample: on average at
            most the optimum, since the minimum over a sample fits the sample.
        radius: R of the ball of comparators about `W^1`.
        comparator: The comparator, arrays like the weights; outside of the part those of `W^1`.
        passes: Passes over the rounds that the solve took, for all radii of a list together.
        converged: Whether the gap over the rounds solved over, without the allowance for rounding,
            is as small as the tolerance asks for.
        reason: Why the solve ended: `"converged"`, `"out of passes"`, `"interrupted"`,
            `"stalled by rounding"`, or `"not finite"`, if the Taylor losses are.
        average_loss: The average loss of the rounds, of all that were trained; NaN, and regret with
            it, if the loss solved for is another one.
        value_error: The standard error of `value`; 0 if every round is kept.
        lower_error: The standard error of `lower_bound`; 0 if every round is kept, or the bound is
            `known_lower_bound`.
        degrees_of_freedom: Those of the errors of lower bound and value, by which `interval`
            widens.
        known_lower_bound: A lower bound without an error, from the loss or a tracker's linear
            regret over all rounds.
        bound: Which lower bound is the highest: `"frank_wolfe"`, `"dual"`, `"cutting_plane"`,
            `"linear_regret"`, or `"loss"`, for one that is never negative.
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
    degrees_of_freedom: tuple = (math.inf, math.inf)
    known_lower_bound: float = -math.inf
    bound: str = FRANK_WOLFE

    def __str__(self):
        lower, upper = self.interval()
        at_level = " (95 %)" if self.value_error or self.lower_error else ""
        regret = interval_text(self.average_loss - upper, self.average_loss - lower)
        return (
            f"Taylor optimum of {self.part}: {interval_text(lower, upper)}{at_level}, "
            f"R = {self.radius:.4g}\n"
            f"average loss {self.average_loss:.4g}, average regret {regret}\n"
            f"{self.passes} passes, {self.reason}; lower end by {self.bound}"
        )

    @property
    def gap(self):
        """The distance of the bounds: `value - lower_bound`."""
        return self.value - self.lower_bound

    def interval(self, level=0.95):
        """Returns the ends of an interval that covers the optimum with that probability.

        `(lower_bound - t lower_error, value + t value_error)`, t a quantile of Student's
        distribution, the lower end at least `known_lower_bound`. If every round is kept,
        `(lower_bound, value)`, whatever the level.

        Args:
            level: The probability, between 0 and 1.

        Raises:
            ValueError: if the level is no number between 0 and 1.
        """
        check_level(level)
        of_lower, of_value = self.degrees_of_freedom
        lower, upper = self.lower_bound, self.value
        if self.lower_error:
            lower -= self.lower_error * quantile(level, of_lower)
        if self.value_error:
            upper += self.value_error * quantile(level, of_value)
        return max(lower, self.known_lower_bound), upper

    @property
    def average_regret(self):
        """Bounds of average Taylor regret, `average_loss` less the optimum's, without errors."""
        return self.average_loss - self.value, self.average_loss - self.lower_bound
