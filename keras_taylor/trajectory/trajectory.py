"""The rounds of a training run, on disk: weights, batch and loss of each."""

import contextlib
import dataclasses
import json
import pathlib

import tensorflow as tf

from keras_taylor.trajectory import storage
from keras_taylor.trajectory.weight_formats import WeightFormat

MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Round:
    """One round of training, before its update; arrays are NumPy's.

    Args:
        number: The number of the round, counted from 1 where training started.
        weights: The trainable weights `W^n`, in the model's order.
        non_trainable_weights: The others (moving averages, seeds), in the model's order.
        x: Inputs of the batch, in the structure that the model takes.
        y: Targets of the batch.
        sample_weight: Sample weights of the batch, or `None`.
        loss: The training loss `l^n`, penalties included.
    """

    number: int
    weights: list
    non_trainable_weights: list
    x: object
    y: object
    sample_weight: object
    loss: float


class Trajectory:
    """The rounds that `keras_taylor.record` kept; reading streams them from disk.

    Args:
        path: The directory.

    Raises:
        FileNotFoundError: if the directory holds no trajectory.
        ValueError: on reading, if a file is truncated or damaged; the message names the file and
            the round.

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
        try:
            text = (self.path / MANIFEST).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self.path} holds no trajectory: expected a directory that "
                "keras_taylor.record wrote"
            ) from error
        self.manifest = json.loads(text)
        self.layout = storage.Layout(self.manifest["layout"])
        self._progress = _progress(self.path / storage.PROGRESS)
        self._shards = self._progress["shards"]
        self._format = WeightFormat(self.manifest["keep"])
        self._format.load(self.path)

    @property
    def model_config(self):
        """The configuration of the model, as `keras.saving.serialize_keras_object` gave it."""
        return self.manifest["model"]

    @property
    def weight_error(self):
        """The largest `||kept - W^n|| / ||W^n - W^1||`: zero where weights are kept exactly."""
        return self._progress["weight_error"]

    def __len__(self):
        return sum(self._shards)

    def __iter__(self):
        number = self.manifest["first"]
        with self.damage_told():
            for tensors in self.dataset():
                arrays = [tensor.numpy() for tensor in tensors]
                yield self._round(number, self._unflattened(arrays))
                number += self.manifest["every"]

    @contextlib.contextmanager
    def damage_told(self):
        """Context in which damage that reading meets is told with the file and the record."""
        try:
            yield
        except (tf.errors.DataLossError, tf.errors.NotFoundError) as error:
            told = storage.damage(self.path, self._shards)
            raise ValueError(told or f"{self.path} cannot be read: {error.message}") from error

    def dataset(self):
        """Returns a `tf.data.Dataset` of the rounds, each a flat tuple of tensors; see `unpack`."""
        return storage.read(self.path, self._shards, self.layout)

    def unpack(self, tensors):
        """Returns a round's `weights, non_trainable_weights, x, y, sample_weight, loss`."""
        parts = self._unflattened(list(tensors))
        names = ("weights", "non_trainable_weights", "x", "y", "sample_weight", "loss")
        return tuple(parts[name] for name in names)

    def check_model(self, model):
        """Raises a ValueError unless a model has the weights that were recorded."""
        expected = self.manifest["weights"]
        found = weight_table(model)
        if found != expected:
            raise ValueError(
                f"trajectory {self.path} was recorded from another model: it has weights "
                f"{expected}, model {model.name!r} has {found}"
            )

    def _unflattened(self, flat):
        parts = self.layout.unflatten(flat)
        return parts | {"weights": self._format.decode(parts["weights"])}

    def _round(self, number, parts):
        return Round(number, **parts | {"loss": float(parts["loss"])})


def _progress(file):
    # There is none where recording was cut off before its first round was written.
    if not file.exists():
        return {"shards": [], "weight_error": 0.0}
    return json.loads(file.read_text(encoding="utf-8"))


def weight_table(model):
    """Returns shapes of the trainable weights and of the others, as a manifest has them."""
    return {
        "trainable": [list(v.shape) for v in model.trainable_variables],
        "non_trainable": [list(v.shape) for v in model.non_trainable_variables],
    }
