"""Training that keeps its rounds."""

import pathlib

import keras
import numpy as np

from keras_taylor import backend
from keras_taylor.taylor.batch import batch_of, expand, loss_at
from keras_taylor.trajectory import storage
from keras_taylor.trajectory.checkpoints import CHECKPOINT, Checkpoint
from keras_taylor.trajectory.trajectory import MANIFEST, Trajectory, weight_table
from keras_taylor.trajectory.weight_formats import FORMATS, WeightFormat
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

    Each round's weights (before the update), batch and loss go to record files with checksums.
    Memory does not grow with the number of rounds. Training is that of `train_on_batch`.

    Args:
        model: A compiled model, built.
        dataset: Batches `(x, y)` or `(x, y, sample_weight)`: a `tf.data.Dataset`, a list, a
            generator. It has to last for all steps: call `repeat()` on a `tf.data.Dataset`.
        path: The directory to write to; new or empty, unless `resume`.
        steps: Rounds to train.
        start: Rounds to train before the first is kept: a burn-in.
        every: Keep one round in so many.
        keep: How weights are kept: `"exact"` in their own dtype, `"float32"`, or `"bfloat16"`, the
            displacement from the first kept round in two bytes a weight. The error is in
            `Trajectory.weight_error`.
        resume: Go on with a recording that was cut off, or make it longer: the state of model and
            optimizer is taken from the last checkpoint (there is one every 64 kept rounds, and at
            the end), and the batches before it are skipped. The dataset has to be the same.
        callbacks: Keras callbacks; their batch methods are called in each round, and training ends
            where one sets `model.stop_training`.
        verbose: 0 for no progress bar.

    Returns:
        The `Trajectory`.

    Raises:
        ValueError: if nothing would be kept, the directory is not empty or holds another recording,
            the model is not compiled, the dataset ends early (what was recorded by then stays
            valid), a callback ends training before a round is kept, or a round's loss is not
            reproduced by replaying it.
        OSError: if the disk is full; what was recorded by then stays valid.
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


def _check_arguments(model, steps, start, every, keep):
    if not 0 <= start < steps or every < 1:
        raise ValueError(
            f"start={start}, steps={steps}, every={every} keep no round: expected "
            "0 <= start < steps and every >= 1"
        )
    if keep not in FORMATS:
        raise ValueError(f"unknown keep={keep!r}: expected one of {', '.join(FORMATS)}")
    if not model.compiled:
        raise ValueError(f"model {model.name!r} is not compiled: compile it before it is recorded")


def _check_new(path, resume):
    # A checkpoint alone is of a recording that was cut off before its first round was written.
    if path.exists() and any(file.name != CHECKPOINT for file in path.iterdir()):
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
    def __init__(self, model, path, start, every, weight_format):
        self._model, self._path, self._start, self._every = model, path, start, every
        self._format, self._checkpoint = weight_format, Checkpoint(model, path)
        self._writer = None

    def resume(self):
        """Takes up a recording from its last checkpoint; returns the rounds that are done."""
        trajectory = Trajectory(self._path)
        trajectory.check_model(self._model)
        held = {name: trajectory.manifest[name] for name in ("first", "every", "keep")}
        asked = {"first": self._start + 1, "every": self._every, "keep": self._format.keep}
        if held != asked:
            raise ValueError(f"{self._path} holds a recording with {held}, asked for {asked}")
        number = self._checkpoint.restore()
        self._format.load(self._path)
        self._writer = storage.Writer(self._path, trajectory.layout, self._checkpoint.shards)
        self._writer.notes = {"weight_error": trajectory.weight_error}
        return number - 1

    def before(self, number, x, y, sample_weight):
        """Returns what a round is before its update, or `None` if it is not kept."""
        if number <= self._start or (number - self._start - 1) % self._every:
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
        """Writes a round, once its loss is known."""
        kept = kept | {"loss": np.float64(loss)}
        if self._writer is None:
            self._begin(kept)
        kept["weights"] = self._format.encode(kept["weights"])
        self._writer.notes = {"weight_error": self._format.error}
        self._writer.append(kept)

    def checkpoint(self, number):
        """Saves what training needs to go on with a round, once a round is kept."""
        if self._writer is not None:
            self._checkpoint.save(number, self._writer.finished_shards())

    def close(self):
        """Ends the last shard."""
        if self._writer is not None:
            self._writer.close()

    def _begin(self, kept):
        if not all(np.isfinite(weight).all() for weight in kept["weights"]):
            raise ValueError(
                f"the weights are not finite at round {self._start + 1}, the first to keep: "
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
            "first": self._start + 1,
            "every": self._every,
            "keep": self._format.keep,
            "seed": backend.global_seed(),
            "versions": {"keras": keras.version(), "keras_taylor": __version__},
        }
        self._format.save(self._path)
        storage.write_json(self._path / MANIFEST, manifest)
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
    # A run that has diverged is replayed too: NaN by NaN.
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
