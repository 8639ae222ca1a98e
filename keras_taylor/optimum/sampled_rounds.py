"""The rounds of a sampled run, as every solve over them reads them: a fit and a check sample."""

import bisect
import functools

import numpy as np
import tensorflow as tf
from keras import ops

from keras_taylor.optimum.rounds import Rounds
from keras_taylor.optimum.sampling_error import Design
from keras_taylor.taylor.batch import expand, loss_at


def rounds_of(trajectory, model, loss=None):
    """Returns the `Rounds` of a trajectory, or the `SampledRounds` where it is a sample."""
    kind = SampledRounds if trajectory.is_sampled else Rounds
    return kind(trajectory, model, loss)


class SampledRounds(Rounds):
    """A sampled trajectory with what is the same for all parts.

    `len` is the number of rounds trained, up to the end of the last stratum that was trained whole.

    Args:
        trajectory: A `keras_taylor.Trajectory` that is sampled.
        model: A compiled model like the one that was recorded.
        loss: A Keras loss; `None` for the compiled one.

    Attributes:
        check_dataset: As `dataset`, of the rounds of the check sample.
        draws_examples: Whether the examples of each round are a sample too.
        ends: The last rounds of the strata, in rising order: the horizons that there are.
        strata: The `keras_taylor.trajectory.sampling.Stratum` up to the last end.

    Raises:
        ValueError: as `Rounds` does, and if no stratum was trained to its end, or the loss is not
            the one that was trained with.
    """

    is_sampled = True

    def __init__(self, trajectory, model, loss=None):
        self._sums, selection = trajectory.sums, trajectory.selection
        self.ends = list(self._sums.ends)
        if not self.ends:
            raise ValueError(
                f"trajectory {trajectory.path} ends before its first stratum does: train on with "
                "`record(..., resume=True)`"
            )
        self.strata = [stratum for stratum in selection.strata if stratum.last <= self.ends[-1]]
        self.draws_examples = selection.examples is not None
        self._fit_ends = np.cumsum([len(stratum.fit) for stratum in self.strata]).tolist()
        self._check_ends = np.cumsum([len(stratum.check) for stratum in self.strata]).tolist()
        super().__init__(trajectory, model, loss)

    def _is_recorded(self, trajectory, model, loss):
        if not super()._is_recorded(trajectory, model, loss):
            raise ValueError(
                f"loss is not the one that trajectory {trajectory.path} was trained with "
                f"({trajectory.other_loss(model, loss)}): a sample is of the losses of a run, so "
                "that it has no estimates for another loss. Record all rounds to solve for it"
            )
        return True

    def _check_replay(self, tensors, expanded):
        # Where examples are a sample, the recorded loss is of more examples than are there.
        if not self.draws_examples:
            super()._check_replay(tensors, expanded)

    def _read(self):
        self.first = [array.astype("float64") for array in self.trajectory.first_weights]
        self.first_batch, self._losses, self._check_losses = None, [], []
        self.dataset = self._cached(self._of_sample("fit"))
        self.check_dataset = self._cached(self._of_sample("check"))
        # Whole, before anybody reads a part: a cache is only valid once it was read to its end.
        for dataset, losses in (
            (self.dataset, self._losses),
            (self.check_dataset, self._check_losses),
        ):
            for _, tensors in dataset:
                self._see(tensors)
                losses.append(float(self._loss_of(tensors)))

    def _of_sample(self, name):
        """Returns the rounds of one sample, each with the number of rounds that it stands for."""
        by_number = {
            n: s.size / len(getattr(s, name)) for s in self.strata for n in getattr(s, name)
        }
        burn_in = self.trajectory.selection.burn_in
        numbers = list(self.trajectory.selection.by_number)[: len(self.trajectory)]
        weights = np.array([by_number.get(number - burn_in, 0.0) for number in numbers])
        pairs = tf.data.Dataset.zip(
            tf.data.Dataset.from_tensor_slices(weights), self.trajectory.dataset()
        )
        return pairs.filter(lambda weight, tensors: weight > 0)

    def _loss_of(self, tensors):
        if self.draws_examples:
            return self._replayed(*tensors)
        return self.trajectory.unpack(tensors)[-1]

    @functools.cached_property
    def _replayed(self):
        """The loss of the kept examples of a round, a function of its tensors."""
        compiled = self.replaced_loss(wide=True)

        def loss(*tensors):
            batch = self.batch(tensors, compiled, wide=True)
            return loss_at(batch, expand(batch, [list(map(ops.zeros_like, batch.weights))]), 0)

        return tf.function(loss, autograph=False)

    def __len__(self):
        return self.ends[-1]

    def nearest(self, horizon):
        """Returns the end of a stratum that is nearest to a horizon."""
        return min(self.ends, key=lambda end: (abs(end - horizon), end))

    def kept(self, horizon):
        """Returns how many of the rounds up to a horizon are in the fit sample."""
        return ([0, *self._fit_ends])[bisect.bisect(self.ends, horizon)]

    def checked(self, horizon):
        """Returns how many of the rounds up to a horizon are in the check sample."""
        return ([0, *self._check_ends])[bisect.bisect(self.ends, horizon)]

    def losses(self, horizon=None, check=False):
        """Returns the losses of the rounds of a sample up to a horizon, of the examples kept."""
        horizon = horizon or len(self)
        if check:
            return np.asarray(self._check_losses[: self.checked(horizon)])
        return np.asarray(self._losses[: self.kept(horizon)])

    def average_loss(self, horizon=None):
        """Returns the mean loss of all rounds trained up to a horizon, kept or not."""
        return self._sums.average_loss(horizon or len(self))

    def travelled(self, part, horizon=None):
        """Returns the largest distance of a `Part` from `W^1` in all rounds up to a horizon."""
        return self._sums.travelled(part, horizon or len(self))

    def sums(self, values, horizons):
        """Estimates sums over all rounds up to several horizons.

        Args:
            values: For each horizon the values in the rounds of the check sample up to it.
            horizons: The horizons, in rising order.

        Returns:
            The sums `(horizons,)` and the covariance matrix of their errors.
        """
        design = self.design(horizons[-1])
        whole = np.zeros((len(values), self.checked(horizons[-1])))
        for row, some in zip(whole, values, strict=True):
            row[: len(some)] = some
        return design.sums_of_check(whole)

    def design(self, horizon):
        """Returns the `Design` of the rounds up to a horizon."""
        strata = self.strata[: bisect.bisect(self.ends, horizon)]
        return Design(strata, is_exact=not self.draws_examples)
