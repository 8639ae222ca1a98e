"""Training that keeps its rounds on disk."""

import itertools
import pathlib

import keras

from keras_taylor.derivatives.refusals import refuse_stateful
from keras_taylor.trajectory import batches, replacing
from keras_taylor.trajectory.checkpoints import CHECKPOINT
from keras_taylor.trajectory.locking import LOCK, locked
from keras_taylor.trajectory.manifests import MANIFEST
from keras_taylor.trajectory.recorder import Recorder
from keras_taylor.trajectory.replays import check_reduced
from keras_taylor.trajectory.run_sums import SUMS
from keras_taylor.trajectory.selection import Selection
from keras_taylor.trajectory.storage import PROGRESS
from keras_taylor.trajectory.trajectory import Trajectory
from keras_taylor.trajectory.weight_formats import FIRST, FORMATS


def record(
    model,
    dataset,
    path,
    steps,
    start=0,
    every=1,
    sample=None,
    examples=None,
    keep="exact",
    resume=False,
    callbacks=(),
    verbose="auto",
):
    """Trains a compiled model and keeps its rounds on disk.

    A round is one batch: the model's `train_step` gets it as `fit` would give it, after
    `preprocess_samples` if the model has that, as KerasHub's tasks do. For each round kept, the
    weights before the update, the batch and the loss go to record files with checksums. Memory
    does not grow with the number of rounds.

    Args:
        model: A compiled and built model.
        dataset: Batches `(x, y)` or `(x, y, sample_weight)`: a `tf.data.Dataset`, a list or a
            generator, with a batch for each of the `steps`. Call `repeat()` on a
            `tf.data.Dataset` that is shorter. Lengths may differ from batch to batch, some may have
            sample weights and others not; one without examples is passed over.
        path: The directory to write to. It has to be new or empty, unless `resume` is true.
        steps: The number of rounds to train.
        start: The number of rounds to train before the first round is kept: a burn-in.
        every: Of `every` rounds after the burn-in, the first is kept: 1 keeps all.
        sample: The number of rounds to keep as a random sample of all those after the burn-in, for
            runs of which not every round can be kept; `None` keeps all. It is stratified: every
            octave of the run has the same share, and about half of the rounds are to solve over,
            the others to hold what was found against (see `keras_taylor.trajectory.sampling`).
            The average loss and the distance travelled are still those of all rounds.
        examples: The number of examples to keep of each round, drawn at random, for models that
            treat each example by itself; `None` keeps the batch. Optima are then estimates too.
        keep: The format in which weights are stored: `"exact"` in their own dtype, `"float32"`, or
            `"bfloat16"`, the displacement from the first round kept in two bytes a weight.
            `Trajectory.weight_error` has the error.
        resume: Whether to go on with a recording that stopped early, or to make one longer. The
            last checkpoint gives the state of model and optimizer, learning rate included, and the
            batches before it are skipped, so the dataset has to be the same. There is a checkpoint
            every 64 kept rounds and at the end. A sample goes on as it was drawn, by the seed in
            its manifest, which is that of `keras.utils.set_random_seed` or a new one; it cannot be
            made longer.
        callbacks: Keras callbacks. Their batch methods are called in each round, those of an epoch
            before the first and after the last, and training ends when one sets
            `model.stop_training`.
        verbose: 0 for no progress bar.

    Returns:
        The `keras_taylor.Trajectory` at `path`.

    Raises:
        ValueError: if no round would be kept, `sample` or `examples` is not positive, too small
            for two samples or given beside `every`, examples do not stand for their batch (a model
            that treats them together, a loss that is a sum), the format is unknown, the directory
            is not empty, holds another recording (of another model, loss or optimizer, too), a
            damaged one, or is being written to; the model is not compiled or built or its loss has
            no reduction, the weights are not finite at the first round kept, the dataset ends
            early, a callback ends training before a round is kept, a `train_step` logs no loss, a
            recurrent layer is stateful, or a replay of the first round kept does not give its
            loss. What was recorded before stays valid.
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
    selection = Selection.of(steps, start, every, sample, examples)
    _check_arguments(model, keep)
    path = pathlib.Path(path)
    path.mkdir(parents=True, exist_ok=True)
    with locked(path):
        recorder = Recorder(model, path, selection, keep)
        if resume and (path / MANIFEST).exists():
            done = recorder.resume()
        else:
            done = 0
            _check_new(path, resume)
        _run(model, dataset, range(done + 1, steps + 1), recorder, verbose, callbacks)
    if not (path / MANIFEST).exists():
        number = selection.number(0)
        raise ValueError(f"a callback ended training before round {number}, the first to keep")
    return Trajectory(path)


def _run(model, dataset, numbers, recorder, verbose, callbacks):
    """Trains the rounds of these numbers, and passes over the batches before them."""
    if not model.optimizer.built:
        # Or it would be built in the first step, which is then traced twice.
        model.optimizer.build(model.trainable_variables)
    steps = numbers.stop - 1
    bar = keras.utils.Progbar(steps, verbose=bool(verbose), unit_name="round")
    rounds = itertools.islice(batches.rounds(dataset), min(numbers.start - 1, steps), None)
    watching = keras.callbacks.CallbackList(
        list(callbacks), model=model, epochs=1, steps=steps, verbose=0
    )
    try:
        _train(model, rounds, numbers, recorder, bar, watching)
    finally:
        recorder.close()


def _check_arguments(model, format_name):
    if format_name not in FORMATS:
        raise ValueError(f"unknown keep={format_name!r}: expected one of {', '.join(FORMATS)}")
    if not model.compiled:
        raise ValueError(f"model {model.name!r} is not compiled: compile it before it is recorded")
    if not model.built or not model.variables:
        raise ValueError(
            f"model {model.name!r} is not built or has no weights: give it an Input, or call it on "
            "a batch, before it is recorded"
        )
    check_reduced(model.loss)
    refuse_stateful(model)


def _check_new(path, resume):
    # A recording that stopped before its manifest was written leaves these files at most.
    whole = [path / name for name in (CHECKPOINT, FIRST, PROGRESS, SUMS)]
    early = {*whole, *map(replacing.partial_path, [*whole, path / MANIFEST]), path / LOCK}
    if path.exists() and any(file not in early for file in path.iterdir()):
        held = "a recording" if (path / MANIFEST).exists() else "files"
        hint = "" if resume or held == "files" else ", or pass resume=True to go on with it"
        raise ValueError(
            f"{path} is not empty, it holds {held}: name a new directory for the trajectory{hint}"
        )


def _train(model, rounds, numbers, recorder, bar, watching):
    """Trains, as one epoch to callbacks."""
    model.stop_training = False
    model.make_train_function()
    watching.on_train_begin()
    watching.on_epoch_begin(0)
    number, logs = numbers.start - 1, {}
    for number in numbers:
        batch = next(rounds, None)
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
    watching.on_epoch_end(0, logs)
    watching.on_train_end(logs)


def _train_round(model, number, batch, recorder):
    batch = batches.preprocessed(model, batch)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    kept = recorder.before(number, x, y, sample_weight)
    model.reset_metrics()
    logs = _train_step(model, batches.tensors(batch))
    recorder.after(number, kept, float(logs["loss"]))
    return logs


def _train_step(model, batch):
    """Trains on a batch as it is, of which `train_on_batch` would make three things."""
    # Private, as `fit` and `train_on_batch` call it: under a strategy, metrics are built by it.
    model._maybe_symbolic_build(data_batch=keras.utils.unpack_x_y_sample_weight(batch))
    logs = model.train_function(iter([batch]))
    if "loss" not in logs:
        raise ValueError(
            f"the train_step of model {model.name!r} returned logs of {sorted(logs)}: expected the "
            "loss of the batch among them, by the name 'loss'"
        )
    return logs
