"""How fast cumulative regret grows with the number of rounds: the slope of log regret on log N."""

import dataclasses
import math

import numpy as np

LEAST_POINTS, RESAMPLES = 3, 2000
LOWER_QUANTILE, UPPER_QUANTILE = 0.025, 0.975


@dataclasses.dataclass(frozen=True)
class Rate:
    """How fast the regret of one part grows: cumulative regret ~ N^slope.

    Args:
        slope: Slope of log cumulative regret on log N by least squares; NaN with fewer than three
            positive regrets.
        lower: Lower end of the slope's 95 % interval, by bootstrap.
        upper: Upper end.
        points: The number of horizons N whose regret is positive, which the fit uses.
        share_left_out: The share of horizons whose regret is not positive.
    """

    slope: float
    lower: float
    upper: float
    points: int
    share_left_out: float


def log_log_slope(horizons, sums):
    """Returns the least-squares slope of log sums on log horizons, and how many points it uses.

    Sums that are not positive have no logarithm and are left out. NaN with fewer than three others.

    Example:

    >>> slope, points = log_log_slope([10, 100, 1000], np.array([1.0, 10.0, 100.0]))
    >>> round(slope, 6), points
    (1.0, 3)
    """
    slopes, points = _log_log_slopes(horizons, np.asarray(sums)[None])
    return float(slopes[0]), int(points[0])


def _log_log_slopes(horizons, sums):
    """Returns what `log_log_slope` does for each row of sums, as two arrays."""
    used = sums > 0
    points = used.sum(axis=1)
    x, y = np.log(np.asarray(horizons, float)), np.log(np.where(used, sums, 1.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        x = used * (x - ((used * x).sum(axis=1) / points)[:, None])
        slopes = (x * y).sum(axis=1) / (x**2).sum(axis=1)
    return np.where(points < LEAST_POINTS, math.nan, slopes), points


class RecordedSeries:
    """Cumulative regret of one run, of which every round was recorded.

    Args:
        regrets: For each horizon N, in rising order, the regret of each of the N rounds, `(N,)`.
    """

    def __init__(self, regrets):
        self._regrets, self.sums = regrets, np.array([one.sum() for one in regrets])

    def resampled(self, generator):
        """Returns sums over rounds drawn in blocks of successive ones, `(RESAMPLES, horizons)`."""
        return _resampled_sums(self._regrets, generator)


class SampledSeries:
    """Cumulative regret of one run, estimated from a sample of its rounds.

    Args:
        sums: The estimate at each horizon, `(horizons,)`.
        covariance: The covariance matrix of their errors.
    """

    def __init__(self, sums, covariance):
        self.sums, self._covariance = sums, covariance

    def resampled(self, generator):
        """Returns sums drawn from the distribution of the estimates, `(RESAMPLES, horizons)`."""
        return generator.multivariate_normal(self.sums, self._covariance, RESAMPLES, method="eigh")


def rate_of(horizons, series, generator):
    """Fits how fast regret grows, with an interval by bootstrap.

    Args:
        horizons: The numbers N of rounds, in rising order.
        series: For each seed a `RecordedSeries` or `SampledSeries` of these horizons. With one
            seed, it is resampled itself; with several, seeds are drawn again, and cumulative regret
            is the mean over them.
        generator: A `numpy.random.Generator`.

    Returns:
        The `Rate`.
    """
    sums = np.array([one.sums for one in series])
    slope, points = log_log_slope(horizons, sums.mean(axis=0))
    if len(series) > 1:
        drawn = generator.integers(0, len(sums), (RESAMPLES, len(sums)))
        resampled = sums[drawn].mean(axis=1)
    else:
        resampled = series[0].resampled(generator)
    slopes, _ = _log_log_slopes(horizons, resampled)
    slopes = slopes[np.isfinite(slopes)]
    ends = (math.nan, math.nan)
    if len(slopes):
        ends = np.quantile(slopes, [LOWER_QUANTILE, UPPER_QUANTILE])
    left_out = 1 - points / len(horizons)
    return Rate(slope, *map(float, ends), points=points, share_left_out=left_out)


def _resampled_sums(series, generator):
    """Returns sums over rounds drawn in blocks, `(RESAMPLES, len(series))`.

    Blocks are drawn within the rounds that each horizon adds to the one before, the same for all
    longer sums, since these have the shorter ones in them.
    """
    ends = [len(regrets) for regrets in series]
    drawn = np.concatenate(
        [
            begin + _drawn_blocks(end - begin, generator)
            for begin, end in zip([0, *ends], ends, strict=False)
        ],
        axis=1,
    )
    sums = [regrets[drawn[:, : len(regrets)]].sum(axis=1) for regrets in series]
    return np.stack(sums, axis=1)


def _drawn_blocks(length, generator):
    """Returns numbers below `length`, drawn in blocks, `(RESAMPLES, length)`."""
    block = max(1, round(length ** (1 / 3)))
    firsts = generator.integers(0, length - block + 1, (RESAMPLES, -(-length // block)))
    return (firsts[:, :, None] + np.arange(block)).reshape(RESAMPLES, -1)[:, :length]
