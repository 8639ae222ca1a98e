"""Means over a run, and their standard errors, from stratified samples of its rounds: pure NumPy.

Source: Cochran, Sampling Techniques, 1977, chapter 5: the estimate, its variance with the finite
population correction, and Satterthwaite's degrees of freedom.
"""

import dataclasses
import math

import numpy as np
from scipy import stats


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An estimate of a mean.

    Args:
        value: The estimate.
        error: Its standard error; 0 where nothing is left to chance.
        degrees_of_freedom: Those of the error: infinite if it is 0.
    """

    value: float
    error: float = 0.0
    degrees_of_freedom: float = math.inf

    def moved(self, distance):
        """Returns the estimate of the mean plus a known number."""
        return dataclasses.replace(self, value=self.value + distance)


def stratified_mean(sizes, groups, spreads=None, is_exact=True):
    """Estimates the mean over all members of some strata from draws of each.

    `sum_h S_h mean_h / S`, with the variance `sum_h (S_h / S)^2 (1 - n_h / S_h) s_h^2 / n_h`.

    Args:
        sizes: The numbers of members S_h.
        groups: The values of those drawn in each stratum, arrays `(n_h,)`.
        spreads: For each stratum the values whose variance is s_h^2; by default those drawn.
        is_exact: Whether a value is that of its member, so that a stratum of which all members are
            drawn has no error. Else each value is an estimate itself, and `1 - n_h / S_h` is left
            out, which makes the variance no smaller than it is.

    Returns:
        An `Estimate`. Its error is NaN where a stratum is drawn from whose variance is unknown.

    Example:

    >>> estimate = stratified_mean([4, 2], [np.array([1.0, 3.0]), np.array([5.0, 7.0])])
    >>> round(estimate.value, 3), round(estimate.error, 3), estimate.degrees_of_freedom
    (3.333, 0.471, 1.0)
    """
    spreads = groups if spreads is None else spreads
    total, mean, variances, freedoms = sum(sizes), 0.0, [], []
    for size, group, spread in zip(sizes, groups, spreads, strict=True):
        mean += size * np.mean(group) / total
        share = 1 - len(group) / size if is_exact else 1.0
        if share > 0:
            variance = np.var(spread, ddof=1) if len(spread) > 1 else math.nan
            variances.append((size / total) ** 2 * share * variance / len(group))
            freedoms.append(len(spread) - 1)
    variances, freedoms = np.array(variances), np.array(freedoms)
    if not variances.any():
        return Estimate(float(mean))
    freedom = variances.sum() ** 2 / np.sum(variances**2 / np.maximum(freedoms, 1))
    return Estimate(float(mean), float(np.sqrt(variances.sum())), float(freedom))


def covariance_of_sums(sizes, groups, is_exact=True):
    """Returns the covariance matrix of the errors of several sums, estimated from the same draws.

    Args:
        sizes: The numbers of members of the strata.
        groups: For each stratum the values of those drawn, for each sum: arrays `(sums, n_h)`.
        is_exact: As in `stratified_mean`.
    """
    covariance = 0.0
    for size, group in zip(sizes, groups, strict=True):
        drawn = group.shape[1]
        share = 1 - drawn / size if is_exact else 1.0
        if share > 0:
            covariance = covariance + share * size**2 / drawn * np.atleast_2d(np.cov(group))
    return covariance + np.zeros((len(groups[0]),) * 2)


class Design:
    """How the rounds of a run were sampled, and what that lets us say of all of them.

    Args:
        strata: The `keras_taylor.trajectory.sampling.Stratum` from the first round on.
        is_exact: As in `stratified_mean`.
    """

    def __init__(self, strata, is_exact=True):
        self._sizes, self._is_exact = [stratum.size for stratum in strata], is_exact
        self._fit = np.cumsum([len(stratum.fit) for stratum in strata])[:-1]
        self._check = np.cumsum([len(stratum.check) for stratum in strata])[:-1]

    def mean_of_fit(self, values, spreads=None):
        """Estimates the mean over all rounds from the values in those of the fit sample.

        Args:
            values: The values, in order.
            spreads: Values in the check sample, from which the error is estimated; by default the
                values themselves.
        """
        spreads = spreads if spreads is None else np.split(spreads, self._check)
        return stratified_mean(
            self._sizes, np.split(values, self._fit), spreads, is_exact=self._is_exact
        )

    def mean_of_check(self, values):
        """Estimates the mean over all rounds from the values in those of the check sample."""
        groups = np.split(values, self._check)
        return stratified_mean(self._sizes, groups, is_exact=self._is_exact)

    def sums_of_check(self, values):
        """Estimates several sums over all rounds from values in those of the check sample.

        Args:
            values: The values, `(sums, rounds)`.

        Returns:
            The sums `(sums,)` and the covariance matrix of their errors.
        """
        groups = np.split(values, self._check, axis=1)
        sums = [self.mean_of_check(row).value * sum(self._sizes) for row in values]
        return np.array(sums), covariance_of_sums(self._sizes, groups, self._is_exact)

    def bounds(self, average_loss, lower_bound, losses, regrets, check_regrets):
        """Estimates the bounds of an optimum over all rounds.

        The average loss is that of all rounds, so that only regrets, which differ less from round
        to round than losses do, are estimated: a control variate. The lower bound over the fit
        sample is on average at most the optimum; the value is the average loss less the regret in
        the check sample, which the comparator was not fitted to, and on average at least the
        optimum.

        Args:
            average_loss: The average loss of all rounds.
            lower_bound: A lower bound of the minimum of F over the fit sample.
            losses: The losses of the rounds of the fit sample.
            regrets: The regrets of these rounds against the comparator that was found.
            check_regrets: The regrets of the rounds of the check sample against it.

        Returns:
            The `Estimate` of the value, and that of the lower bound.
        """
        regret = self.mean_of_check(check_regrets)
        # Regrets over rounds that the comparator fits vary less than they should, so those of the
        # check sample have a say in the error as well.
        spreads = [self.mean_of_fit(regrets), self.mean_of_fit(regrets, check_regrets)]
        spread = max(spreads, key=lambda estimate: estimate.error)
        lower = lower_bound + (average_loss - self.mean_of_fit(losses).value)
        return (
            Estimate(average_loss - regret.value, regret.error, regret.degrees_of_freedom),
            Estimate(lower, spread.error, spread.degrees_of_freedom),
        )


def quantile(level, degrees_of_freedom):
    """Returns how many standard errors each end of an interval lies away.

    Args:
        level: The probability that the interval covers, between 0 and 1.
        degrees_of_freedom: Those of the standard error.
    """
    return float(stats.t.ppf((1 + level) / 2, degrees_of_freedom))
