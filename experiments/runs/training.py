"""Training a task with one optimizer under a `RegretTracker`, and decomposing its loss."""

import dataclasses
import shutil
import time

import keras
import numpy as np
import tqdm

import keras_taylor as kt
from experiments.reports import event_logs
from experiments.runs import readings, rounds
from experiments.tasks import tasks
from keras_taylor.weights.scopes import Scopes

# What the Taylor losses are taken at: the weights where tracking starts, and the iterates' mean.
COMPARATORS = {"initial": "initial", "average": "average"}
# What is decomposed, and at how many numbers of rounds.
PARTS, COUNTS = ("network", "layers"), 5
# Units of each layer that are decomposed, evenly spread.
UNITS = 2
# How often a run writes for TensorBoard.
SUMMARIES = 50


class ProgressBar(keras.callbacks.Callback):
    """A bar over the rounds of the whole run, with the round's loss and metrics beside it."""

    def __init__(self, description, steps):
        super().__init__()
        self._bar = tqdm.tqdm(total=steps, desc=description, unit="round", dynamic_ncols=True)
        self._logs = {}

    def on_train_batch_end(self, batch, logs=None):
        self._logs = logs or {}
        # The bar redraws ten times a second at most; formatting each round would cost more.
        if self._bar.update():
            self._bar.set_postfix(_short(self._logs), refresh=False)

    def on_train_end(self, logs=None):
        self._bar.set_postfix(_short(self._logs))
        self._bar.close()


class MeanLogs(keras.callbacks.Callback):
    """The means of loss and metrics over the rounds after the burn-in."""

    def __init__(self, burn_in):
        super().__init__()
        self._burn_in, self._logs = burn_in, []

    def on_train_batch_end(self, batch, logs=None):
        if batch >= self._burn_in:
            self._logs.append({name: float(value) for name, value in (logs or {}).items()})

    def means(self):
        """Returns the mean of each."""
        names = self._logs[0] if self._logs else ()
        return {name: float(np.mean([logs[name] for logs in self._logs])) for name in names}


def train(
    task,
    examples,
    choice,
    *,
    plan,
    path,
    seed=0,
    radius=None,
    tolerance=0.01,
    parts=PARTS,
    counts=COUNTS,
    max_passes=None,
    keep=False,
    log_dir=None,
):
    """Trains a new model of the task; returns what its tracker read and its decomposition.

    The same seed gives the same initial weights and the same batches to every optimizer.

    Args:
        task: An `experiments.tasks.tasks.Task`.
        examples: The dataset of examples, from `experiments.tasks.tasks.examples`.
        choice: An `experiments.tasks.optimizers.Choice`.
        plan: An `experiments.runs.rounds.Plan`.
        path: A directory for the recorded rounds; what an interrupted run left there is removed.
        seed: Seed of the weights and of the order of the data.
        radius: Radius of the comparators, or `None` for the distance travelled.
        tolerance: Gap of the optima, relative to the value.
        parts: Parts to decompose, as `scope` of `keras_taylor.decompose`.
        counts: How many numbers of rounds to decompose, log-spaced.
        max_passes: Most passes of a solve.
        keep: Whether the recorded rounds stay when they are decomposed.
        log_dir: A directory for TensorBoard, or `None`; what lies there is removed.

    Returns:
        A dictionary of numbers and lists; see `experiments.runs.readings.RegretRecorder.series` and
        `decompose`.
    """
    keras.utils.set_random_seed(seed)
    model = kt.TaylorModel.from_model(task.build_model(), COMPARATORS)
    tracker = kt.optimizers.RegretTracker(choice.build(), radius=radius)
    model.compile(tracker, loss=task.build_loss(), metrics=list(task.metrics))
    recorder = readings.RegretRecorder(tracker, plan.steps, plan.burn_in, COMPARATORS)
    means = MeanLogs(plan.burn_in)
    bar = ProgressBar(f"{choice.label:>12}", plan.steps)
    start = time.perf_counter()
    batches = tasks.batches(task, examples, seed).repeat()
    watching = [means, bar, *_summaries(log_dir, choice, seed, plan)]
    trajectory = record(model, batches, path, plan, recorder, watching)
    trained = time.perf_counter()
    split = {}
    if trajectory is not None:
        split = decompose(trajectory, model, radius, tolerance, parts, counts, max_passes)
        if log_dir is not None:
            event_logs.write_decomposition(log_dir, split["parts"])
    if not keep:
        shutil.rmtree(path, ignore_errors=True)
    return {
        "optimizer": choice.label,
        "learning_rate": choice.learning_rate,
        "wall_seconds": trained - start,
        "solve_seconds": time.perf_counter() - trained,
        "diverged": recorder.diverged,
        "parameters": model.count_params(),
        "means": means.means(),
        "decomposition": split,
        **recorder.series(),
    }


def _summaries(log_dir, choice, seed, plan):
    if log_dir is None:
        return []
    event_logs.clear(log_dir)
    values = {"optimizer": choice.label, "learning_rate": choice.learning_rate, "seed": seed}
    every = max(1, plan.steps // SUMMARIES)
    return [kt.callbacks.RegretSummaries(log_dir, every), event_logs.session(log_dir, values)]


def record(model, batches, path, plan, watch, callbacks):
    """Returns the trajectory of a run, or `None` where it diverged.

    A rectifier may turn what is no number into zero, so the loss alone does not tell.

    Args:
        model: The compiled model.
        batches: A dataset that lasts.
        path: A directory for the rounds; what an interrupted run left there is removed.
        plan: An `experiments.runs.rounds.Plan`.
        watch: A callback with an attribute `diverged`, which is set here too.
        callbacks: Further callbacks.
    """
    shutil.rmtree(path, ignore_errors=True)
    options = {"steps": plan.steps, "start": plan.burn_in, "callbacks": [watch, *callbacks]}
    try:
        trajectory = kt.record(model, batches, path, verbose=0, **options)
    except ValueError:
        if not watch.diverged and weights_are_finite(model):
            raise
        trajectory = None
    watch.diverged = watch.diverged or not weights_are_finite(model)
    return None if watch.diverged else trajectory


def weights_are_finite(model):
    """Tells whether all weights of a model are numbers."""
    return all(np.isfinite(weight).all() for weight in model.get_weights())


def decompose(
    trajectory, model, radius=None, tolerance=0.01, parts=PARTS, counts=COUNTS, max_passes=None
):
    """Returns rows of the parts over N, the same at one radius, of some units, and rates."""
    numbers = rounds.log_spaced(len(trajectory), counts, min(10, len(trajectory)))
    options = {"radius": radius, "tolerance": tolerance, "max_passes": max_passes}
    # At one radius too: elsewhere regret grows with R as well.
    radii = {"radius": [radius, radius or "last"]}
    table, fixed = kt.decompose(trajectory, model, list(parts), numbers, **options | radii)
    found = {"parts": table.rows, "rates": _rates(table), "units": []}
    if "layers" in parts:
        units = kt.decompose(
            trajectory, model, sampled_units(model), rounds=[len(trajectory)], **options
        )
        found["units"] = units.rows
    if counts > 1:
        found |= {"fixed": fixed.rows, "fixed_rates": _rates(fixed)}
    return found


def _rates(table):
    return {part: dataclasses.asdict(rate) for part, rate in table.rate().items()}


def sampled_units(model, count=UNITS):
    """Returns so many units of each layer, evenly spread, as names of parts."""
    return [
        f"unit:{layer}/{number}"
        for layer, units in Scopes(model.trainable_variables).layers.items()
        for number in np.unique(np.linspace(0, units - 1, count + 2).astype(int)[1:-1])
    ]


def plan_of(task, examples, settings):
    """Returns the `experiments.runs.rounds.Plan` of a run of the task."""
    steps = len(examples) // task.batch_size
    total = rounds.total_steps(steps, settings.resolved_epochs(), settings.max_steps)
    return rounds.plan(total, settings.burn_in, settings.recorded_rounds)


def _short(logs):
    shown = {name: value for name, value in logs.items() if not name.startswith("taylor_")}
    return {name: f"{float(value):.4g}" for name, value in shown.items()}
