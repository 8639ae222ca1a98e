"""Training that keeps its rounds on disk."""

import pathlib

import keras
import numpy as np

from keras_taylor import backend
from keras_taylor.taylor.batch import batch_of, expand, loss_at
from keras_taylor.trajectory import replacing, storage
from keras_taylor.trajectory.checkpoints import CHECKPOINT, Checkpoint
from keras_taylor.trajectory.trajectory import MANIFEST, Trajectory, weight_table
from keras_taylor.trajectory.weight_formats import FIRST, FORMATS, WeightFormat
from keras_taylor.version import __version__

REPLAY_TOLERANCE = 1e-3


def record(
    model,
    dataset,
    path,
    steps,
    start=0,
    every=1,
    keep="exact",
    resume=False,
    callbacks=(),
    verbose="auto",
):
    """Trains a compiled model and keeps its rounds on disk.

    A round is one batch: `train_on_batch` is called with it. For each round kept, the weights
    before the update, the batch and the loss go to record files with checksums. Memory does not
    grow with the number of rounds.

    Args:
        model: A compiled and built model.
        dataset: Batches `(x, y)` or `(x, y, sample_weight)`: a `tf.data.Dataset`, a list or a
            generator, with a batch for each of the `steps`. Call `repeat()` on a
            `tf.data.Dataset` that is shorter.
        path: The directory to write to. It has to be new or empty, unless `resume` is true.
        steps: The number of rounds to train.
        start: The number of rounds to train before the first round is kept: a burn-in.
        every: Of `every` rounds after the burn-in, the first is kept: 1 keeps all.
        keep: The format in which weights are stored: `"exact"` in their own dtype, `"float32"`, or
            `"bfloat16"`, the displacement from the first round kept in two bytes a weight.
            `Trajectory.weight_error` has the error.
        resume: Whether to go on with a recording that stopped early, or to make one longer. The
            last checkpoint gives the state of model and optimizer, and the batches before it are
            skipped, so the dataset has to be the same. There is a checkpoint every 64 kept rounds
            and at the end.
        callbacks: Keras callbacks. Their batch methods are called in each round, and training
            ends when one sets `model.stop_training`.
        verbose: 0 for no progress bar.

    Returns:
        The `keras_taylor.Trajectory` at `path`.

    Raises:
        ValueError: if no round would be kept, the format is unknown, the directory is not empty or
            holds another recording, the model is not compiled, the weights are not finite at the
            first round kept, the dataset ends early, a callback ends training before a round is
            kept, or a replay of the first round kept does not give its loss. What was recorded
            before stays valid.
        OSError: if the disk is full. What was recorded before stays valid.

    Example:

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.1), loss="mse")
    >>> batches = [(np.ones((4, 2)), np.zeros((4, 1)))] * 6
    >>> path = tempfile.mkdtemp() + "/run"
    >>> trajectory = record(model, batches, path, steps=6, start=2, verbose=0)
    >>> [round.number for round in trajectory]
    [3, 4, 5, 6]
    """
    _check_arguments(model, steps, start, every, keep)
    path = pathlib.Path(path)
    recorder = _Recorder(model, path, start, every, WeightFormat(keep))
    done = recorder.resume() if resume and (path / MANIFEST).exists() else 0
    if not done:
        _check_new(path, resume)
    path.mkdir(parents=True, exist_ok=True)
    bar = keras.utils.Progbar(steps, verbose=bool(verbose), unit_name="round")
    batches = iter(dataset)
    for _ in range(min(done, steps)):
        next(batches, None)
    try:
        _train(model, batches, range(done + 1, steps + 1), recorder, bar, callbacks)
    finally:
        recorder.close()
    if not (path / MANIFEST).exists():
        raise ValueError(f"a callback ended training before round {start + 1}, the first to keep")
    return Trajectory(path)


def _check_arguments(model, steps, start, every, format_name):
    if not 0 <= start < steps or every < 1:
        raise ValueError(
            f"start={start}, steps={steps}, every={every} keep no round: expected "
            "0 <= start < steps and every >= 1"
        )
    if format_name not in FORMATS:
        raise ValueError(f"unknown keep={format_name!r}: expected one of {', '.join(FORMATS)}")
    if not model.compiled:
        raise ValueError(f"model {model.name!r} is not compiled: compile it before it is recorded")


def _check_new(path, resume):
    # A recording that stopped before its manifest was written leaves these files at most.
    early = [path / name for name in (CHECKPOINT, FIRST, MANIFEST)]
    early = {*early[:2], *map(replacing.partial_path, early)}
    if path.exists() and any(file not in early for file in path.iterdir()):
        held = "a recording" if (path / MANIFEST).exists() else "files"
        hint = "" if resume or held == "files" else ", or pass resume=True to go on with it"
        raise ValueError(
            f"{path} is not empty, it holds {held}: name a new directory for the trajectory{hint}"
        )


def _train(model, batches, numbers, recorder, bar, callbacks):
    watching = keras.callbacks.CallbackList(list(callbacks), model=model)
    model.stop_training = False
    watching.on_train_begin()
    number = numbers.start - 1
    for number in numbers:
        batch = next(batches, None)
        if batch is None:
            recorder.checkpoint(number)
            raise ValueError(
                f"the dataset ended after {number - 1} of {numbers.stop - 1} rounds: let it last, "
                "for example by `dataset.repeat()`. What was recorded so far stays valid"
            )
        watching.on_train_batch_begin(number - 1)
        logs = _train_round(model, number, batch, recorder)
        watching.on_train_batch_end(number - 1, logs)
        bar.update(number, values=[("loss", float(logs["loss"]))])
        if model.stop_training:
            break
    recorder.checkpoint(number + 1)
    watching.on_train_end()


def _train_round(model, number, batch, recorder):
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    kept = recorder.before(number, x, y, sample_weight)
    model.reset_metrics()
    logs = model.train_on_batch(x, y, sample_weight, return_dict=True)
    if kept:
        recorder.after(kept, float(logs["loss"]))
    return logs


class _Recorder:
    """Keeps the rounds of one training.

    Args:
        model: The model that is trained.
        path: The directory.
        burn_in: The number of rounds before the first round kept.
        every: The distance between the rounds kept.
        weight_format: A `WeightFormat`.
    """

    def __init__(self, model, path, burn_in, every, weight_format):
        self._model, self._path, self._first, self._every = model, path, burn_in + 1, every
        self._format, self._checkpoint = weight_format, Checkpoint(model, path)
        self._writer = None

    def resume(self):
        """Goes back to the last checkpoint; returns the number of rounds trained before it."""
        trajectory = Trajectory(self._path)
        trajectory.check_model(self._model)
        held = {name: trajectory.manifest[name] for name in ("first", "every", "keep")}
        asked = {"first": self._first, "every": self._every, "keep": self._format.name}
        if held != asked:
            raise ValueError(f"{self._path} holds a recording with {held}, asked for {asked}")
        number = self._checkpoint.restore()
        self._format.load(self._path)
        self._writer = storage.Writer(self._path, trajectory.layout, self._checkpoint.shards)
        self._writer.notes = {"weight_error": trajectory.weight_error}
        return number - 1

    def before(self, number, x, y, sample_weight):
        """Returns the fields of a round that are known before its update; `None` to skip it."""
        if number < self._first or (number - self._first) % self._every:
            return None
        if self._writer is None or self._writer.is_between_shards:
            self._checkpoint.save(number, self._writer.shards if self._writer else [])
        return {
            "weights": [v.numpy() for v in self._model.trainable_variables],
            "non_trainable_weights": [v.numpy() for v in self._model.non_trainable_variables],
            "x": _arrays(x),
            "y": _arrays(y),
            "sample_weight": _arrays(sample_weight),
        }

    def after(self, kept, loss):
        """Writes a round when its loss is known."""
        kept = kept | {"loss": np.float64(loss)}
        if self._writer is None:
            self._begin(kept)
        kept["weights"] = self._format.encode(kept["weights"])
        self._writer.notes = {"weight_error": self._format.error}
        self._writer.append(kept)

    def checkpoint(self, number):
        """Saves the state before a round, if any round was kept."""
        if self._writer is not None:
            self._checkpoint.save(number, self._writer.finished_shards())

    def close(self):
        """Closes the last shard."""
        if self._writer is not None:
            self._writer.close()

    def _begin(self, kept):
        if not all(np.isfinite(weight).all() for weight in kept["weights"]):
            raise ValueError(
                f"the weights are not finite at round {self._first}, the first to keep: "
                "training has diverged. Lower the learning rate, or begin to record earlier"
            )
        _check_replay(self._model, kept)
        self._format.begin(kept["weights"])
        encoded = kept | {"weights": self._format.encode(kept["weights"])}
        layout = storage.Layout.of(encoded)
        manifest = {
            "model": _config(self._model),
            "loss": _loss_config(self._model),
            "weights": weight_table(self._model),
            "layout": layout.description,
            "first": self._first,
            "every": self._every,
            "keep": self._format.name,
            "seed": backend.global_seed(),
            "versions": {"keras": keras.version(), "keras_taylor": __version__},
        }
        self._format.save(self._path)
        replacing.write_json(self._path / MANIFEST, manifest)
        self._writer = storage.Writer(self._path, layout)


def _check_replay(model, kept):
    batch = batch_of(
        model,
        kept["x"],
        kept["y"],
        kept["sample_weight"],
        weights=[keras.ops.convert_to_tensor(w) for w in kept["weights"]],
        state=[keras.ops.convert_to_tensor(w) for w in kept["non_trainable_weights"]],
    )
    still = [keras.ops.zeros_like(weight) for weight in batch.weights]
    replayed = float(loss_at(batch, expand(batch, [still]), 0))
    # If training has diverged, both losses are NaN.
    if not np.isclose(
        replayed, kept["loss"], REPLAY_TOLERANCE, REPLAY_TOLERANCE / 1000, equal_nan=True
    ):
        raise ValueError(
            f"replaying the first round gives a loss of {replayed}, training had {kept['loss']}: "
            "the model's forward pass is not a function of its weights, its state and the batch"
        )


def _config(model):
    try:
        return keras.saving.serialize_keras_object(model)
    except NotImplementedError:
        return None


def _loss_config(model):
    try:
        return keras.saving.serialize_keras_object(model.loss)
    except (NotImplementedError, TypeError, ValueError):
        return repr(model.loss)


def _arrays(structure):
    if structure is None:
        return None
    return keras.tree.map_structure(np.asarray, structure)
