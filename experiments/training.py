"""Training a task with one optimizer under a `RegretTracker`."""

import time

import keras
import tqdm

import keras_taylor as kt
from experiments import recording, rounds, tasks

# What the Taylor losses are taken at: the weights where tracking starts, and the iterates' mean.
COMPARATORS = {"initial": "initial", "average": "average"}


class ProgressBar(keras.callbacks.Callback):
    """A bar over the rounds of the whole run, with the epoch's running averages beside it."""

    def __init__(self, description, steps):
        super().__init__()
        self._bar = tqdm.tqdm(total=steps, desc=description, unit="round", dynamic_ncols=True)

    def on_train_batch_end(self, batch, logs=None):
        # The bar redraws ten times a second at most; formatting each round would cost more.
        if self._bar.update():
            self._bar.set_postfix(_short(logs or {}), refresh=False)

    def on_train_end(self, logs=None):
        self._bar.set_postfix(_short(logs or {}))
        self._bar.close()


def train(task, examples, choice, *, steps, seed=0, burn_in=0, radius=None):
    """Trains a new model of the task and returns what its tracker read.

    The same seed gives the same initial weights and the same batches to every optimizer.

    Args:
        task: An `experiments.tasks.Task`.
        examples: The dataset of examples, from `experiments.tasks.examples`.
        choice: An `experiments.optimizers.Choice`.
        steps: Rounds to train, burn-in included.
        seed: Seed of the weights and of the order of the data.
        burn_in: Rounds before tracking starts.
        radius: Radius of the comparators, as in `keras_taylor.optimizers.RegretTracker`.

    Returns:
        A dictionary of numbers and lists; see `experiments.recording.RegretRecorder.series`.
    """
    keras.utils.set_random_seed(seed)
    model = kt.TaylorModel.from_model(task.build_model(), COMPARATORS)
    tracker = kt.optimizers.RegretTracker(choice.build(), radius=radius)
    compile_with_metrics(model, task, tracker)
    recorder = recording.RegretRecorder(tracker, steps, burn_in, COMPARATORS)
    start = time.perf_counter()
    history = _fit(model, tasks.batches(task, examples, seed), steps, recorder, choice.label)
    return {
        "optimizer": choice.label,
        "learning_rate": choice.learning_rate,
        "wall_seconds": time.perf_counter() - start,
        "diverged": recorder.diverged,
        "parameters": model.count_params(),
        "last_epoch": {name: values[-1] for name, values in history.history.items()},
        **recorder.series(),
    }


def compile_with_metrics(model, task, tracker):
    """Compiles a model of the task with the tracker as optimizer and its regret as metrics."""
    regret = [kt.metrics.LinearRegret(tracker), kt.metrics.OptimumLowerBound(tracker)]
    model.compile(tracker, loss=task.build_loss(), metrics=[*task.metrics, *regret])


def steps_of(task, examples, epochs, max_steps=None):
    """Returns the number of rounds that a run of the task trains."""
    return rounds.total_steps(len(examples) // task.batch_size, epochs, max_steps)


def _fit(model, batches, steps, recorder, description):
    epochs = -(-steps // len(batches))
    callbacks = [recorder, ProgressBar(f"{description:>12}", steps)]
    return model.fit(batches, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0)


def _short(logs):
    shown = {name: value for name, value in logs.items() if not name.startswith("taylor_")}
    return {name: f"{float(value):.4g}" for name, value in shown.items()}
