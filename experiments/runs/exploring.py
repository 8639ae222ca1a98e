"""Training a task with one optimizer and seed, and measuring how the run explores."""

import shutil
import time

import keras
import numpy as np

import keras_taylor as kt
from experiments.reports import event_logs
from experiments.runs.training import MeanLogs, ProgressBar, record
from experiments.tasks import tasks

PROBE, SNAPSHOTS, WINDOWS = 500, 20, 40


class LossCurve(keras.callbacks.Callback):
    """The training loss of each round; ends training where it is no number."""

    def __init__(self):
        super().__init__()
        self.losses, self.diverged = [], False

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))
        self.diverged = not np.isfinite(self.losses[-1])
        if self.diverged:
            self.model.stop_training = True

    def windowed(self, windows=WINDOWS):
        """Returns the last rounds of about so many windows, and the mean loss in each."""
        parts = np.array_split(np.asarray(self.losses), min(windows, len(self.losses)))
        return np.cumsum([len(part) for part in parts]).tolist(), [float(p.mean()) for p in parts]


def probe(task, examples, count=PROBE):
    """Returns the inputs of the first examples of a task."""
    batch = next(iter(examples.batch(count)))
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
        path: A directory for the recorded rounds, removed in the end.
        tolerance: Gap of the optimum, relative to the value.
        max_passes: Most passes of its solve.
        log_dir: A directory for TensorBoard, or `None`; what lies there is removed.
    """
    keras.utils.set_random_seed(seed)
    model = task.build_model()
    tracker = kt.optimizers.RegretTracker(choice.build(), track_snr=True)
    model.compile(tracker, loss=task.build_loss(), metrics=list(task.metrics))
    every = max(1, plan.steps // SNAPSHOTS)
    event_logs.clear(log_dir)
    recorder = kt.callbacks.ActivationRecorder(probe(task, examples), every=every, log_dir=log_dir)
    curve, means = LossCurve(), MeanLogs(plan.burn_in)
    callbacks = [recorder, means, ProgressBar(f"{choice.label} {seed}", plan.steps)]
    start = time.perf_counter()
    batches = tasks.batches(task, examples, seed).repeat()
    trajectory = record(model, batches, path, plan, curve, callbacks)
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
        "seconds": time.perf_counter() - start,
    }


def _optimum(trajectory, model, tolerance, max_passes):
    found = kt.taylor_optimum(
        trajectory, model, tolerance=tolerance, max_passes=max_passes, verbose=0
    )
    return {
        "radius": found.radius,
        "average_loss": found.average_loss,
        "lower": found.lower_bound,
        "upper": found.value,
        "regret_lower": found.regret[0],
        "regret_upper": found.regret[1],
        "converged": found.converged,
    }
