"""Training that keeps its rounds."""

import pathlib

import keras
import numpy as np

from keras_taylor import storage
from keras_taylor.taylor_loss import Batch
from keras_taylor.trajectory import MANIFEST, Trajectory, weight_table

REPLAY_TOLERANCE = 1e-3


def record(model, dataset, path, steps, start=0, every=1, verbose="auto"):
    """Trains a compiled model and keeps its rounds on disk.

    Each round's weights (before the update), batch and loss go to record files with checksums.
    Memory does not grow with the number of rounds. Training is that of `train_on_batch`.

    Args:
        model: A compiled model, built.
        dataset: Batches `(x, y)` or `(x, y, sample_weight)`: a `tf.data.Dataset`, a list, a
            generator. It has to last for all steps: call `repeat()` on a `tf.data.Dataset`.
        path: The directory to write to; new or empty.
        steps: Rounds to train.
        start: Rounds to train before the first is kept: a burn-in.
        every: Keep one round in so many.
        verbose: 0 for no progress bar.

    Returns:
        The `Trajectory`.

    Raises:
        ValueError: if nothing would be kept, the directory is not empty, the model is not compiled,
            the dataset ends early (what was recorded by then stays valid), or a round's loss is
            not reproduced by replaying it.
        OSError: if the disk is full; what was recorded by then stays valid.
    """
    if not 0 <= start < steps or every < 1:
        raise ValueError(
            f"start={start}, steps={steps}, every={every} keep no round: expected "
            "0 <= start < steps and every >= 1"
        )
    if not model.compiled:
        raise ValueError(f"model {model.name!r} is not compiled: compile it before it is recorded")
    path = pathlib.Path(path)
    if path.exists() and any(path.iterdir()):
        raise ValueError(f"{path} is not empty: name a new directory for the trajectory")
    path.mkdir(parents=True, exist_ok=True)
    bar = keras.utils.Progbar(steps, verbose=bool(verbose), unit_name="round")
    recorder = _Recorder(model, path, start, every)
    try:
        _train(model, iter(dataset), steps, recorder, bar)
    finally:
        recorder.close()
    return Trajectory(path)


def _train(model, batches, steps, recorder, bar):
    for number in range(1, steps + 1):
        batch = next(batches, None)
        if batch is None:
            raise ValueError(
                f"the dataset ended after {number - 1} of {steps} rounds: let it last, for example "
                "by `dataset.repeat()`. What was recorded so far stays valid"
            )
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        kept = recorder.before(number, x, y, sample_weight)
        model.reset_metrics()
        logs = model.train_on_batch(x, y, sample_weight, return_dict=True)
        if kept:
            recorder.after(number, kept, float(logs["loss"]))
        bar.update(number, values=[("loss", float(logs["loss"]))])


class _Recorder:
    def __init__(self, model, path, start, every):
        self._model, self._path, self._start, self._every = model, path, start, every
        self._writer = None

    def before(self, number, x, y, sample_weight):
        """Returns what a round is before its update, or `None` if it is not kept."""
        if number <= self._start or (number - self._start - 1) % self._every:
            return None
        return {
            "weights": [v.numpy() for v in self._model.trainable_variables],
            "non_trainable_weights": [v.numpy() for v in self._model.non_trainable_variables],
            "x": _arrays(x),
            "y": _arrays(y),
            "sample_weight": _arrays(sample_weight),
        }

    def after(self, number, kept, loss):
        """Writes a round, once its loss is known."""
        del number
        kept = kept | {"loss": np.float64(loss)}
        if self._writer is None:
            self._begin(kept)
        self._writer.append(kept)

    def close(self):
        """Ends the last shard."""
        if self._writer is not None:
            self._writer.close()

    def _begin(self, kept):
        _check_replay(self._model, kept)
        layout = storage.Layout.of(kept)
        manifest = {
            "model": _config(self._model),
            "weights": weight_table(self._model),
            "layout": layout.description,
            "first": self._start + 1,
            "every": self._every,
            "keras": keras.version(),
        }
        storage.write_json(self._path / MANIFEST, manifest)
        self._writer = storage.Writer(self._path, layout)


def _check_replay(model, kept):
    batch = Batch(
        model,
        kept["x"],
        kept["y"],
        kept["sample_weight"],
        weights=[keras.ops.convert_to_tensor(w) for w in kept["weights"]],
        state=[keras.ops.convert_to_tensor(w) for w in kept["non_trainable_weights"]],
    )
    outputs, points, (tangents,) = batch.expand([batch.part(batch.weights, "network")])
    still = [keras.ops.zeros_like(tangent) for tangent in tangents]
    part = [keras.ops.zeros_like(weight) for weight in batch.weights]
    replayed = float(batch.loss_at(outputs, points, still, part))
    # `not <=` also refuses a loss that is no number.
    if not abs(replayed - kept["loss"]) <= REPLAY_TOLERANCE * max(abs(replayed), 1e-3):
        raise ValueError(
            f"replaying the first round gives a loss of {replayed}, training had {kept['loss']}: "
            "the model's forward pass is not a function of its weights, its state and the batch"
        )


def _config(model):
    try:
        return keras.saving.serialize_keras_object(model)
    except NotImplementedError:
        return None


def _arrays(structure):
    if structure is None:
        return None
    return keras.tree.map_structure(np.asarray, structure)
