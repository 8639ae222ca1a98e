"""Training a task with one optimizer and seed, and measuring how the run explores."""

import shutil
import time

import keras
import numpy as np

import keras_taylor as kt
from experiments.runs import callbacks, event_logs, training
from experiments.tasks import tasks
from keras_taylor.optimum.optimum import INTERRUPTED
from keras_taylor.optimum.taylor_optimum import NoMovementError

PROBE, SNAPSHOTS, WINDOWS = 500, 20, 40


class LossCurve(callbacks.DivergenceWatch):
    """The training loss of each round."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))
        self.check_loss(self.losses[-1])

    def windowed(self, most=WINDOWS):
        """Returns the last round of each of at most `most` windows, and the mean loss in each."""
        windows = np.array_split(np.asarray(self.losses), min(most, len(self.losses)))
        ends = np.cumsum([len(window) for window in windows]).tolist()
        return ends, [float(window.mean()) for window in windows]


def probe(task, examples, example_count=PROBE):
    """Returns the inputs of the first examples of a task."""
    batch = next(iter(examples.batch(example_count)))
    return task.to_pair(batch)[0].numpy()


def explore(
    task, examples, choice, seed, *, plan, path, tolerance=0.01, max_passes=None, log_dir=None
):
    """Trains a new model of the task; returns measures over training, loss, optimum and regret.

    Args:
        task: An `experiments.tasks.tasks.Task`.
        examples: The dataset of examples, from `experiments.tasks.tasks.examples`.
        choice: An `experiments.tasks.optimizers.Choice`.
        seed: Seed of the weights and of the order of the data.
        plan: An `experiments.runs.rounds.Plan`; the optimum is that of its recorded rounds.
        path: A directory for the recorded rounds, which is removed at the end.
        tolerance: Gap of the optimum, relative to the value.
        max_passes: Most passes of its solve.
        log_dir: A directory for TensorBoard, or `None`. Older logs in it are removed.

    Returns:
        A dictionary. Its `optimum` is empty where the run diverged, or where the weights did not
        move in the recorded rounds, as in a single one.
    """
    keras.utils.set_random_seed(seed)
    model = task.build_model()
    tracker = kt.optimizers.RegretTracker(choice.build(), track_snr=True)
    model.compile(tracker, loss=task.build_loss(), metrics=list(task.metrics))
    # Else Keras builds it in the first step, which is then traced twice.
    model.optimizer.build(model.trainable_variables)
    every = max(1, plan.steps // SNAPSHOTS)
    event_logs.clear(log_dir)
    recorder = kt.callbacks.ActivationRecorder(probe(task, examples), every=every, log_dir=log_dir)
    curve, means = LossCurve(), callbacks.MeanLogs(plan.burn_in)
    others = [recorder, means, callbacks.ProgressBar(f"{choice.label} {seed}", plan.steps)]
    began = time.perf_counter()
    batches = tasks.batches(task, examples, seed).repeat()
    trajectory = training.record(model, batches, path, plan, curve, others)
    optimum = {} if trajectory is None else _optimum(trajectory, model, tolerance, max_passes)
    shutil.rmtree(path, ignore_errors=True)
    rounds, losses = curve.windowed()
    return {
        "optimizer": choice.label,
        "learning_rate": choice.learning_rate,
        "seed": seed,
        "diverged": curve.diverged,
        "steps": recorder.steps,
        "measures": recorder.measures,
        "loss_rounds": rounds,
        "losses": losses,
        "means": means.means(),
        "optimum": optimum,
        "snr_median": {of: float(tracker.snr(of=of)[2]) for of in kt.signal_to_noise.KINDS},
        "seconds": time.perf_counter() - began,
    }


def _optimum(trajectory, model, tolerance, max_passes):
    options = {"tolerance": tolerance, "max_passes": max_passes, "verbose": 0}
    try:
        found = kt.taylor_optimum(trajectory, model, **options)
    except NoMovementError:
        return {}
    if found.reason == INTERRUPTED:
        # What was found so far is for a user; a run with half a solve is not done.
        raise KeyboardInterrupt
    lower, upper = found.interval()
    return {
        "radius": found.radius,
        "average_loss": found.average_loss,
        "lower": lower,
        "upper": upper,
        "average_regret_lower": found.average_loss - upper,
        "average_regret_upper": found.average_loss - lower,
        "converged": found.converged,
    }
