"""Which rounds of a run are kept, where they are a sample: two independent, stratified ones.

The rounds 1..N are cut into octaves `[2^k, 2^(k+1))`, so that every decade of N is seen alike, and
an octave of which not all is kept again into equal pieces. From each piece, a stratum, rounds are
drawn at random without replacement: about half of them to solve over (the fit sample), the others
to hold what was found against (the check sample). A kept round of a stratum of S rounds stands for
`S / (rounds of its sample in the stratum)` rounds. A stratum that is kept whole is in both samples.

Source: Cochran, Sampling Techniques, 1977, chapter 5, for stratified samples. That the fit sample
bounds from below and the check sample from above: Mak, Morton, Wood, Oper. Res. Lett. 24 (1999).
"""

import dataclasses

import numpy as np

# Rounds that a stratum has at least: two of each sample, since one has no variance.
LEAST_KEPT = 4


@dataclasses.dataclass(frozen=True)
class Stratum:
    """Successive rounds of a run, of which some are kept.

    Rounds have numbers from 1, the first round that is recorded.

    Args:
        first: The number of its first round.
        last: The number of its last round.
        fit: Numbers of the rounds that are solved over, in rising order.
        check: Numbers of the rounds that what was found is held against, in rising order.
    """

    first: int
    last: int
    fit: tuple
    check: tuple

    @property
    def size(self):
        """The number of rounds in the stratum, kept or not."""
        return self.last - self.first + 1

    @property
    def kept(self):
        """Numbers of all rounds that are kept, in rising order."""
        return tuple(sorted({*self.fit, *self.check}))

    def weight(self, number):
        """Returns how many rounds a kept round stands for, within its sample."""
        return self.size / len(self.fit if number in self.fit else self.check)


def strata(total, size, seed, separate=False):
    """Cuts a run into strata and draws the rounds that are kept.

    Args:
        total: The number of rounds in the run.
        size: The number of rounds to keep, at least four and at most `total`.
        seed: Seed of the draw, an integer.
        separate: Whether no round is in both samples even where a stratum is kept whole, as is
            needed where the examples of a round are a sample too.

    Returns:
        A list of `Stratum`, in order.

    Raises:
        ValueError: if there are too few rounds for two samples.

    Example:

    >>> found = strata(total=1000, size=60, seed=0)
    >>> sum(len(stratum.kept) for stratum in found), found[-1].last
    (60, 1000)
    >>> found[0].kept, found[0].weight(1)
    ((1,), 1.0)
    """
    whole = size >= total and not separate
    if not whole and min(size, total) < LEAST_KEPT:
        raise ValueError(
            f"{size} of {total} rounds are too few for a sample: expected at least {LEAST_KEPT}, "
            "two to solve over and two to check what was found"
        )
    generator = np.random.default_rng(seed)
    spans = _merged(_octaves(total), max(1, size // LEAST_KEPT), LEAST_KEPT if separate else 1)
    quotas = _quotas([last - first + 1 for first, last in spans], min(size, total))
    return [
        _drawn(*piece, generator, separate)
        for span, quota in zip(spans, quotas, strict=True)
        for piece in _pieces(*span, quota)
    ]


def example_numbers(batch_size, examples, seed, number):
    """Returns which examples of a round are kept, in rising order, all where there are no more."""
    generator = np.random.default_rng([seed, number])
    return np.sort(generator.choice(batch_size, min(batch_size, examples), replace=False))


def _octaves(total):
    firsts = [2**power for power in range(total.bit_length())]
    return [(first, min(2 * first - 1, total)) for first in firsts]


def _merged(spans, most, least_size):
    """Returns at most so many spans, the first ones joined, each of a least size."""
    spans = list(spans)
    while len(spans) > 1 and (len(spans) > most or spans[0][1] - spans[0][0] + 1 < least_size):
        spans[:2] = [(spans[0][0], spans[1][1])]
    if len(spans) > 1 and spans[-1][1] - spans[-1][0] + 1 < least_size:
        spans[-2:] = [(spans[-2][0], spans[-1][1])]
    return spans


def _quotas(sizes, total):
    """Shares a total out evenly; what a span is too short for goes to the longer ones."""
    quotas, left = [0] * len(sizes), total
    for place, span in enumerate(np.argsort(sizes, kind="stable")):
        quotas[span] = min(sizes[span], left // (len(sizes) - place))
        left -= quotas[span]
    return quotas


def _pieces(first, last, quota):
    """Yields the strata of a span, each with the number of rounds to keep."""
    rounds, count = np.arange(first, last + 1), max(1, quota // LEAST_KEPT)
    if quota == len(rounds):
        count = 1
    shares = [len(share) for share in np.array_split(np.arange(quota), count)]
    yield from zip(np.array_split(rounds, count), shares, strict=True)


def _drawn(rounds, count, generator, separate):
    drawn = generator.choice(rounds, count, replace=False).tolist()
    if count == len(rounds) and not separate:
        fit = check = sorted(drawn)
    else:
        check, fit = sorted(drawn[: count // 2]), sorted(drawn[count // 2 :])
    return Stratum(int(rounds[0]), int(rounds[-1]), tuple(fit), tuple(check))
