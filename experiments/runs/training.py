"""Training a task with one optimizer under a `RegretTracker`, and decomposing its loss."""

import dataclasses
import shutil
import time

import keras
import numpy as np

import keras_taylor as kt
from experiments.runs import callbacks, event_logs, readings, rounds
from experiments.tasks import tasks
from experiments.tasks.errors import UsageError
from keras_taylor.weights.scopes import Scopes

# What is decomposed, and at how many horizons.
PARTS, HORIZONS = ("network", "layers"), 5
# Units of each layer that are decomposed, evenly spread.
UNITS = 2
# How often a run writes for TensorBoard.
SUMMARIES = 20


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
    horizons=HORIZONS,
    units=UNITS,
    max_passes=None,
    keeps_trajectory=False,
    comparators=readings.COMPARATORS,
    log_dir=None,
):
    """Trains a new model of the task; returns what its tracker read and its decomposition.

    The same seed gives the same initial weights and the same batches to every optimizer.

    Args:
        task: An `experiments.tasks.tasks.Task`.
        examples: The dataset of examples, from `experiments.tasks.tasks.examples`.
        choice: An `experiments.tasks.optimizers.Choice`.
        plan: An `experiments.runs.rounds.Plan`.
        path: A directory for the recorded rounds. Rounds of an interrupted run are removed first.
        seed: Seed of the weights and of the order of the data.
        radius: Radius of the comparators, or `None` for the distance travelled.
        tolerance: Gap of the optima, relative to the value.
        parts: Parts to decompose, as `scope` of `keras_taylor.decompose`.
        horizons: How many horizons to decompose, log-spaced.
        units: How many units of each layer to decompose, evenly spread.
        max_passes: Most passes of a solve.
        keeps_trajectory: Whether the recorded rounds stay on disk after the decomposition.
        comparators: Which of `experiments.runs.readings.COMPARATORS` the exact Taylor losses are
            computed of, in the training step.
        log_dir: A directory for TensorBoard, or `None`. Older logs in it are removed.

    Returns:
        A dictionary of numbers and lists; see `experiments.runs.readings.RegretRecorder.series` and
        `decompose`.
    """
    keras.utils.set_random_seed(seed)
    model = task.build_model()
    if comparators:
        model = kt.TaylorModel.from_model(model, {name: name for name in comparators})
    tracker = kt.optimizers.RegretTracker(choice.build(), radius=radius)
    model.compile(tracker, loss=task.build_loss(), metrics=list(task.metrics))
    # Else Keras builds it in the first step, which is then traced twice.
    model.optimizer.build(model.trainable_variables)
    recorder = readings.RegretRecorder(tracker, plan.steps, plan.burn_in, comparators)
    means = callbacks.MeanLogs(plan.burn_in)
    bar = callbacks.ProgressBar(f"{choice.label:>12}", plan.steps)
    began = time.perf_counter()
    batches = tasks.batches(task, examples, seed).repeat()
    others = [means, bar, *_summaries(log_dir, choice, seed, plan)]
    trajectory = record(model, batches, path, plan, recorder, others)
    trained = time.perf_counter()
    split = {}
    if trajectory is not None:
        options = {"parts": parts, "horizons": horizons, "units": units, "max_passes": max_passes}
        split = decompose(trajectory, model, plan.recorded, radius, tolerance, **options)
        if log_dir is not None:
            event_logs.write_decomposition(log_dir, split.get("parts", ()))
    if not keeps_trajectory:
        shutil.rmtree(path, ignore_errors=True)
    return {
        "optimizer": choice.label,
        "learning_rate": choice.learning_rate,
        "wall_seconds": trained - began,
        "solve_seconds": time.perf_counter() - trained,
        "diverged": recorder.diverged,
        "parameters": model.count_params(),
        "means": means.means(),
        "final_means": means.means(callbacks.LAST_SHARE),
        "diagnosis": kt.diagnose(tracker).rows,
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


def record(model, batches, path, plan, watch, others):
    """Returns the trajectory of a run, or `None` where it diverged.

    Args:
        model: The compiled model.
        batches: A dataset with enough batches for the whole run.
        path: A directory for the rounds. Rounds of an interrupted run are removed first.
        plan: An `experiments.runs.rounds.Plan`.
        watch: An `experiments.runs.callbacks.DivergenceWatch`.
        others: Further callbacks.
    """
    shutil.rmtree(path, ignore_errors=True)
    options = {"steps": plan.steps, "start": plan.burn_in, "callbacks": [watch, *others]}
    options |= {"sample": plan.sample, "examples": plan.examples}
    try:
        trajectory = kt.record(model, batches, path, verbose=0, **options)
    except ValueError:
        watch.check_weights(model)
        if not watch.diverged:
            raise
        return None
    finally:
        for each in others:
            if isinstance(each, callbacks.ProgressBar):
                each.close()
    watch.check_weights(model)
    return None if watch.diverged else trajectory


def decompose(
    trajectory,
    model,
    rounds_trained,
    radius=None,
    tolerance=0.01,
    parts=PARTS,
    horizons=HORIZONS,
    units=UNITS,
    max_passes=None,
):
    """Splits the loss of a run into optimum and regret at several horizons.

    Args:
        trajectory: A `keras_taylor.Trajectory`.
        model: The model that was recorded.
        rounds_trained: The rounds that were trained after the burn-in, kept or not.
        radius: Radius of the comparators, or `None` for the distance travelled.
        tolerance: Gap of the optima, relative to the value.
        parts: Parts to decompose, as `scope` of `keras_taylor.decompose`.
        horizons: How many horizons to decompose, log-spaced.
        units: How many units of each layer to decompose, evenly spread.
        max_passes: Most passes of a solve.

    Returns:
        A dictionary with `parts` (rows of the parts at each horizon), `rates` (of these), `units`
        (rows of some units at the last horizon), and with several horizons `fixed` and
        `fixed_rates`: the same with the radius of the last horizon at all of them. Empty for one
        round, which has no decomposition.
    """
    if rounds_trained < 2:
        # The weights of one round are the centre of the ball and its only point.
        return {}
    chosen = rounds.log_spaced(rounds_trained, horizons, min(10, rounds_trained))
    options = {"radius": radius, "tolerance": tolerance, "max_passes": max_passes}
    # At one radius too: elsewhere regret grows with R as well.
    radii = {"radius": [radius, radius or "last"]}
    table, fixed = _whole(kt.decompose(trajectory, model, list(parts), chosen, **options | radii))
    found = {"parts": table.rows, "rates": _rates(table), "units": []}
    if "layers" in parts and units:
        names = spread_units(model, units)
        one = {"rounds": [rounds_trained], "radius": [radius]}
        (by_unit,) = _whole(kt.decompose(trajectory, model, names, **options | one))
        found["units"] = by_unit.rows
    if horizons > 1:
        found |= {"fixed": fixed.rows, "fixed_rates": _rates(fixed)}
    return found


def _whole(tables):
    """Returns decompositions; raises KeyboardInterrupt again where it ended them early.

    What was solved so far is returned to a user, but a run with a part of it is not done.
    """
    if any(table.interrupted for table in tables):
        raise KeyboardInterrupt
    return tables


def check_parts(task, parts):
    """Raises a UsageError unless the task's network has each of the parts, before any training."""
    if not parts:
        raise UsageError("--parts is empty: expected a list such as --parts=network,layers")
    scopes = Scopes(task.build_model().trainable_variables)
    for part in parts:
        try:
            scopes.locate(part)
        except ValueError as error:
            raise UsageError(f"--parts={','.join(parts)}: {error}") from error


def _rates(table):
    return {part: dataclasses.asdict(rate) for part, rate in table.rate().items()}


def spread_units(model, most=UNITS):
    """Returns at most so many units of each layer, evenly spread, as names of parts."""
    return [
        f"unit:{layer}/{number}"
        for layer, units in Scopes(model.trainable_variables).layers.items()
        for number in _spread(units, most)
    ]


def _spread(count, most):
    if most >= count:
        return range(count)
    return np.unique(np.linspace(0, count - 1, most + 2).astype(int)[1:-1])


def plan_of(task, examples, settings):
    """Returns the `experiments.runs.rounds.Plan` of a run of the task."""
    steps = len(examples) // task.batch_size
    total = rounds.total_steps(steps, settings.resolved_epochs(), settings.max_steps)
    return rounds.plan(
        total,
        settings.burn_in,
        settings.recorded_rounds,
        settings.sample,
        settings.examples,
    )
