"""Estimates from runs with several seeds: means with intervals, differences, rank correlations."""

import dataclasses
import math

import numpy as np
from scipy import stats

CONFIDENCE, RESAMPLES = 0.95, 2000
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; the ends are NaN where there is none."""

    value: float
    lower: float
    upper: float

    def sign(self):
        """Returns 1 or -1 where the whole interval is on one side of zero, else 0."""
        return int(self.lower > 0) - int(self.upper < 0)


def from_json(found):
    """Returns the `Estimate` that a JSON file holds; `None` there stands for NaN."""
    ends = (found[name] for name in ("value", "lower", "upper"))
    return Estimate(*(math.nan if end is None else end for end in ends))


@dataclasses.dataclass(frozen=True)
class RankCorrelation(Estimate):
    """A rank correlation with its interval, and the probability of one as strong by chance.

    `p_value` is from the permutations of the groups' means: all of them, or 2000 from seven groups
    on. It limits what a correlation of few groups can show.
    """

    p_value: float


def mean(values):
    """Returns the mean of independent values with Student's interval.

    Values that are not finite are left out; the ends are NaN for fewer than two.
    """
    values = np.asarray([v for v in values if v is not None and math.isfinite(v)], float)
    if not len(values):
        return Estimate(math.nan, math.nan, math.nan)
    if len(values) < 2:
        return Estimate(float(values[0]), math.nan, math.nan)
    spread = stats.sem(values) * stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return Estimate(
        float(values.mean()), float(values.mean() - spread), float(values.mean() + spread)
    )


def difference(values, others):
    """Returns the mean of paired differences, values less others, with Student's interval."""
    pairs = [
        one - other
        for one, other in zip(values, others, strict=True)
        if one is not None and other is not None
    ]
    return mean(pairs)


def rank_correlation(groups, seed=0):
    """Returns Spearman's correlation of two quantities over the means of groups.

    The interval is from a bootstrap over the runs within each group. It says what other seeds may
    give for the same groups, not what other groups would give.

    Args:
        groups: A list of lists of pairs, one list a group.
        seed: Seed of the bootstrap.
    """
    groups = [np.asarray(group, float) for group in groups if len(group)]
    if len(groups) < 3:
        return RankCorrelation(math.nan, math.nan, math.nan, math.nan)
    generator = np.random.default_rng(seed)
    one, other = np.transpose([group.mean(axis=0) for group in groups])
    value = float(_spearman(one, other))
    resampled = _spearman(*np.moveaxis(_resampled_means(groups, generator), -1, 0))
    resampled = resampled[np.isfinite(resampled)]
    resampled = resampled if len(resampled) else [math.nan]
    lower, upper = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return RankCorrelation(value, float(lower), float(upper), _p_value(one, other, value))


def _resampled_means(groups, generator):
    """Returns the means of groups whose members are drawn again, `(RESAMPLES, groups, 2)`."""
    sizes = [len(group) for group in groups]
    drawn = generator.integers(0, np.repeat(sizes, sizes), (RESAMPLES, sum(sizes)))
    members = np.split(drawn, np.cumsum(sizes)[:-1], axis=1)
    return np.stack(
        [group[chosen].mean(axis=1) for group, chosen in zip(groups, members, strict=True)], axis=1
    )


def _p_value(one, other, value):
    if not math.isfinite(value):
        return math.nan
    found = stats.permutation_test(
        (one,),
        lambda x, axis: _spearman(x, other),
        permutation_type="pairings",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def verdict(estimate, expected_sign):
    """Returns what an interval says about a sign: `HOLDS`, `FAILS` or `UNDECIDED`.

    It is undecided for a `RankCorrelation` that is likely by chance, even with a narrow interval.
    """
    if not math.isfinite(estimate.lower) or getattr(estimate, "p_value", 0) > 1 - CONFIDENCE:
        return UNDECIDED
    return {expected_sign: HOLDS, -expected_sign: FAILS}.get(estimate.sign(), UNDECIDED)


def _spearman(one, other):
    """Returns Spearman's correlation along the last axis; NaN where a quantity is constant."""
    ranks = [stats.rankdata(values, axis=-1) for values in (one, other)]
    one, other = (each - each.mean(axis=-1, keepdims=True) for each in ranks)
    scale = np.sqrt((one**2).sum(axis=-1) * (other**2).sum(axis=-1))
    product = (one * other).sum(axis=-1)
    return np.divide(product, scale, out=np.full(scale.shape, math.nan), where=scale > 0)
