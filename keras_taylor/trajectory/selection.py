"""Which rounds of a run `record` keeps, and which examples of them."""

import dataclasses
import functools
import secrets
import warnings

from keras_taylor import backend
from keras_taylor.trajectory import sampling
from keras_taylor.weights.arguments import is_whole


@dataclasses.dataclass(frozen=True)
class Selection:
    """What is kept of a run of `steps` rounds, of which the first `burn_in` are not looked at.

    Args:
        burn_in: The number of rounds before the first that may be kept.
        steps: The number of rounds trained.
        every: Of so many rounds the first is kept, where they are no sample.
        size: The number of rounds in a sample; `None` where rounds are no sample.
        examples: The number of examples kept of each round; `None` for all.
        seed: Seed of the sample; `None` where there is none.
    """

    burn_in: int
    steps: int
    every: int = 1
    size: int | None = None
    examples: int | None = None
    seed: int | None = None

    @classmethod
    def of(cls, steps, start, every, sample, examples):
        """Returns the selection that the arguments of `record` ask for.

        Raises:
            ValueError: if they keep no round, or contradict each other.
        """
        _check(steps, start, every, sample, examples)
        # Of any kind that counts, such as NumPy's, which JSON does not hold.
        steps, start, every = int(steps), int(start), int(every)
        sample, examples = (None if n is None else int(n) for n in (sample, examples))
        total = steps - start
        if sample is not None and sample > total:
            message = f"sample={sample}: the run has {total} rounds, all are kept"
            warnings.warn(message, stacklevel=3)
            sample = total
        if sample == total and examples is None:
            sample = None
        if sample is None and examples is None:
            return cls(start, steps, every)
        seed = backend.global_seed()
        seed = secrets.randbits(32) if seed is None else seed
        found = cls(start, steps, 1, total if sample is None else sample, examples, seed)
        assert found.strata  # Raises where the rounds are too few.
        return found

    @classmethod
    def from_manifest(cls, manifest):
        """Returns the selection that a recording was made with."""
        sample = manifest.get("sample") or {"steps": None}
        return cls(manifest["first"] - 1, every=manifest["every"], **sample)

    @property
    def description(self):
        """What the manifest says of it."""
        names = ("steps", "size", "examples", "seed")
        sample = {name: getattr(self, name) for name in names} if self.is_sampled else None
        return {"first": self.burn_in + 1, "every": self.every, "sample": sample}

    @property
    def is_sampled(self):
        """Whether rounds or examples are a sample."""
        return self.size is not None

    @functools.cached_property
    def strata(self):
        """The strata of a sample, a list."""
        total, separate = self.steps - self.burn_in, self.examples is not None
        return sampling.strata(total, self.size, self.seed, separate)

    @functools.cached_property
    def by_number(self):
        """The stratum of each kept round of a sample, by the round's number in the run."""
        return {n + self.burn_in: stratum for stratum in self.strata for n in stratum.kept}

    @functools.cached_property
    def _numbers(self):
        return list(self.by_number)

    def keeps(self, number):
        """Tells whether the round of a number is kept."""
        if self.is_sampled:
            return number in self.by_number
        return number > self.burn_in and (number - self.burn_in - 1) % self.every == 0

    def number(self, place):
        """Returns the number of the round that is kept in that place, from 0."""
        if self.is_sampled:
            return self._numbers[place]
        return self.burn_in + 1 + place * self.every


def _check(steps, start, every, sample, examples):
    given = {"steps": steps, "start": start, "every": every}
    if not all(map(is_whole, given.values())) or not 0 <= start < steps or every < 1:
        raise ValueError(
            f"start={start}, steps={steps}, every={every} keep no round: expected integers with "
            "0 <= start < steps and every >= 1"
        )
    for name, value in (("sample", sample), ("examples", examples)):
        if value is not None and not (is_whole(value) and value > 0):
            raise ValueError(f"{name} must be a positive integer or None, received {value!r}")
    if every != 1 and (sample is not None or examples is not None):
        raise ValueError(
            f"every={every} keeps rounds at a fixed distance, and sample={sample}, "
            f"examples={examples} draw them at random: expected one or the other"
        )
