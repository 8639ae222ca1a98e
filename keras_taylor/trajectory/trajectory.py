"""Reading the rounds of a training run from disk: weights, batch and loss of each."""

import contextlib
import dataclasses
import functools
import pathlib

import keras
import tensorflow as tf

from keras_taylor.printing import Printed
from keras_taylor.trajectory import manifests, sealed, storage
from keras_taylor.trajectory.identity import (
    difference,
    loss_identity,
    model_identity,
    optimizer_identity,
)
from keras_taylor.trajectory.layout import Layout, is_absent, or_ones
from keras_taylor.trajectory.run_sums import SumsOfStrata
from keras_taylor.trajectory.selection import Selection
from keras_taylor.trajectory.weight_formats import WeightFormat, first_weights


@dataclasses.dataclass(frozen=True)
class Round:
    """One round of training, before its update. All arrays are NumPy arrays.

    Args:
        number: n, the number of the round; the first round of training has number 1.
        weights: `W^n`, a list of the trainable weights in the model's order.
        non_trainable_weights: A list of the other weights (moving averages, seeds), in the
            model's order.
        x: The inputs of the batch, `(examples, ...)`, in the structure that the model takes.
        y: The targets of the batch, `(examples, ...)`, in the structure of the outputs.
        sample_weight: The sample weights of the batch, `(examples,)`, or `None`.
        loss: `l^n`, the training loss: a mean over the batch as Keras computes it, with sample
            weights and penalties; of the whole batch, also where only some examples are kept.
        weight: The number of rounds that this one stands for within its sample; 1 where every
            round is kept, and where all of a stratum is, whose rounds are in both samples.
        is_check: Whether the round is only of the sample that optima are held against, and not of
            that which they are solved over.

    Example:

    >>> weights, x, y = [np.zeros((2, 1))], np.ones((4, 2)), np.ones((4, 1))
    >>> round = Round(7, weights, [], x, y, None, loss=1.0)
    >>> round.number, round.loss
    (7, 1.0)
    """

    number: int
    weights: list
    non_trainable_weights: list
    x: object
    y: object
    sample_weight: object
    loss: float
    weight: float = 1.0
    is_check: bool = False


class Trajectory(Printed):
    """The rounds that `keras_taylor.record` kept on disk.

    `len(trajectory)` is the number of rounds. Iteration yields each as a `Round`, in order, and
    reads one after the other, so memory does not grow with their number. Each reading checks that
    every round is there, whole, in its place and of this run.

    Args:
        path: The directory that `keras_taylor.record` wrote.

    Attributes:
        path: The directory, a `pathlib.Path`.
        manifest: What is known of all rounds: id of the run, model, loss, layout, shapes of
            weights, versions.
        selection: The `keras_taylor.trajectory.selection.Selection` of rounds and examples.

    Raises:
        FileNotFoundError: if the directory holds no trajectory, or one of its files is missing.
        ValueError: if a file is damaged, of another run, or of a version that this one does not
            read; during iteration, if a record is missing, damaged, in another's place or of
            another run. The message names the file, and the record.

    Example:

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.1), loss="mse")
    >>> dataset = [(np.ones((4, 2)), np.zeros((4, 1)))] * 5
    >>> path = tempfile.mkdtemp() + "/run"
    >>> trajectory = keras_taylor.record(model, dataset, path, steps=5, start=2, verbose=0)
    >>> len(trajectory), [round.number for round in trajectory]
    (3, [3, 4, 5])
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.manifest = manifests.read(self.path)
        self.layout = Layout(self.manifest["layout"])
        self._progress = sealed.read_json(self.path / storage.PROGRESS, self.run)
        self._shards = self._progress["shards"]
        self.selection = Selection.from_manifest(self.manifest)
        self._format = WeightFormat(self.manifest["keep"])
        self._format.load(self.path, self.run)

    def __str__(self):
        kind = "a sample of the rounds" if self.is_sampled else "all rounds"
        return f"Trajectory of {len(self)} recorded rounds ({kind} after the burn-in)\n{self.path}"

    @property
    def run(self):
        """The id of the run, which every file and every record holds."""
        return self.manifest["run"]

    @property
    def is_sampled(self):
        """Whether the rounds, or the examples of each, are a random sample of those trained."""
        return self.selection.is_sampled

    @property
    def first_weights(self):
        """`W^1`, the weights before the first round after the burn-in, arrays."""
        if self.is_sampled:
            return first_weights(self.path, self.run)
        return next(iter(self)).weights

    @property
    def sums(self):
        """The `keras_taylor.trajectory.run_sums.SumsOfStrata` of a sampled run."""
        strata, ends, kept = self.selection.strata, [], 0
        for stratum in strata:
            kept += len(stratum.kept)
            if kept <= len(self):
                ends.append(stratum.last)
        return SumsOfStrata(self.path, self.run, ends)

    @property
    def model_config(self):
        """The configuration of the model, for `keras.saving.deserialize_keras_object`.

        `None` for a model that Keras cannot serialise.
        """
        return self.manifest["model"]

    @property
    def weight_error(self):
        """The largest `||stored - W^n|| / ||W^n - W^1||` of all rounds.

        `W^1` is here the weights of the first round kept. Zero if weights are stored exactly.
        """
        return self._progress["weight_error"]

    def __len__(self):
        return sum(self._shards)

    def __iter__(self):
        with self.damage_told():
            for place, tensors in enumerate(self.dataset()):
                arrays = [tensor.numpy() for tensor in tensors]
                yield self._round(self.selection.number(place), arrays)

    @contextlib.contextmanager
    def damage_told(self):
        """Context that turns errors of reading into a ValueError that names the file and record."""
        try:
            yield
        except (
            tf.errors.DataLossError,
            tf.errors.InvalidArgumentError,
            tf.errors.NotFoundError,
        ) as error:
            message = storage.damage(self.path, self.run, self._shards, self._numbers)
            if message is None:
                raise
            raise ValueError(message) from error

    def dataset(self):
        """Returns a `tf.data.Dataset` of the rounds, in order.

        Each is a flat tuple of tensors, which `unpack` takes.
        """
        return self._dataset

    @functools.cached_property
    def _dataset(self):
        return storage.read(self.path, self.run, self._shards, self._numbers, self.layout)

    def unpack(self, tensors):
        """Returns the fields of a round from a tuple of tensors that `dataset` gave.

        Returns:
            `weights, non_trainable_weights, x, y, sample_weight, loss`, as in `Round`. Where some
            rounds have sample weights, those of the others are ones.
        """
        fields = self._unflattened(list(tensors))
        if self.layout.is_optional:
            weights = or_ones(fields["sample_weight"], fields["x"])
            fields = fields | {"sample_weight": weights}
        names = ("weights", "non_trainable_weights", "x", "y", "sample_weight", "loss")
        return tuple(fields[name] for name in names)

    def check_model(self, model):
        """Raises a ValueError unless a model is like the one that was recorded.

        That is by the shapes of its weights and by its configuration, apart from names; a model
        that Keras cannot serialise has its weights compared only.
        """
        expected = self.manifest["weights"]
        found = weight_table(model)
        if found != expected:
            raise ValueError(
                f"trajectory {self.path} was recorded from another model: it has weights "
                f"{expected}, model {model.name!r} has {found}"
            )
        other = self._difference("model", model_identity(model), "model")
        if other:
            raise ValueError(f"trajectory {self.path} was recorded from another model: {other}")

    def check_shards(self, shards):
        """Raises a ValueError unless the first shards have these numbers of rounds, all whole."""
        message = storage.damage(self.path, self.run, shards, self._numbers_of(sum(shards)))
        if message is not None:
            raise ValueError(message)

    def other_loss(self, model, loss=None):
        """Returns in what a loss is not the one that was trained with, or `None`.

        Args:
            model: A model like the one that was recorded.
            loss: A Keras loss; `None` for the one that the model was compiled with.
        """
        return self._difference("loss", loss_identity(model, loss))

    def other_optimizer(self, optimizer):
        """Returns in what an optimizer is not the one that trained, or `None`."""
        return self._difference("optimizer", optimizer_identity(optimizer), "optimizer")

    def _difference(self, kind, found, place=""):
        is_other_keras = self.manifest["versions"]["keras"] != keras.version()
        return difference(self.manifest["identity"][kind], found, place, is_other_keras)

    @property
    def _numbers(self):
        return self._numbers_of(len(self))

    def _numbers_of(self, count):
        return [self.selection.number(place) for place in range(count)]

    def _unflattened(self, flat):
        fields = self.layout.unflatten(flat)
        return fields | {"weights": self._format.decode(fields["weights"])}

    def _round(self, number, arrays):
        fields = self._unflattened(arrays)
        if self.layout.is_optional and is_absent(fields["sample_weight"]):
            fields = fields | {"sample_weight": None}
        weight, is_check = 1.0, False
        if self.is_sampled:
            stratum, place = self.selection.by_number[number], number - self.selection.burn_in
            weight, is_check = stratum.weight(place), place not in stratum.fit
        fields = fields | {"loss": float(fields["loss"])}
        return Round(number, **fields, weight=weight, is_check=is_check)


def weight_table(model):
    """Returns the shapes of a model's weights in the form of the manifest.

    Returns:
        `{"trainable": [shape, ...], "non_trainable": [shape, ...]}`, shapes as lists.
    """
    return {
        "trainable": [list(v.shape) for v in model.trainable_variables],
        "non_trainable": [list(v.shape) for v in model.non_trainable_variables],
    }
