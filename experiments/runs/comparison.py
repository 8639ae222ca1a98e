"""The training runs of a comparison, each of one task, optimizer, learning rate and seed."""

import dataclasses
import functools
import math
import time
from concurrent.futures import process

import joblib
import keras
import numpy as np
import tqdm

from experiments.runs import callbacks, exploring, run_files
from experiments.tasks import optimizers, strategies, tasks
from experiments.tasks.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything that determines a run, and the directory of the data."""

    task: str
    optimizer: str
    learning_rate: float
    seed: int
    steps: int
    data_dir: str | None = None
    strategy: str | None = None

    @property
    def name(self):
        """Name of the run's file."""
        return name_of(dataclasses.asdict(self))


def name_of(run):
    """Returns the name of a run, a dictionary, within its comparison."""
    return f"{run['optimizer']}_{run['learning_rate']:.3g}_{run['seed']}"


def train(run):
    """Trains a run and returns its losses and metrics; a run that diverges is a result too."""
    strategy = strategies.get(run.strategy)
    task = tasks.get(run.task)
    # Before the data are read: the order of the data follows from it too.
    keras.utils.set_random_seed(run.seed)
    batches = tasks.batches(task, examples_of(run.task, run.data_dir), run.seed).repeat()
    began = time.perf_counter()
    with strategy.scope():
        model = task.build_model()
        optimizer = optimizers.Choice(run.optimizer, run.learning_rate).build()
        model.compile(optimizer, loss=task.build_loss(), metrics=list(task.metrics))
        # Else Keras builds it in the first step, which is then traced twice.
        model.optimizer.build(model.trainable_variables)
    curve = Curve(run.steps)
    options = {"steps_per_epoch": run.steps, "shuffle": False, "verbose": 0}
    with strategies.with_clear_errors():
        model.fit(batches, callbacks=[curve], **options)
    curve.check_weights(model)
    rounds, losses = curve.windows()
    return {
        **dataclasses.asdict(run),
        "diverged": curve.diverged,
        "final_loss": math.nan if curve.diverged else curve.final_loss(),
        "metrics": {} if curve.diverged else curve.final_metrics(),
        "loss_rounds": rounds,
        "losses": losses,
        "seconds": time.perf_counter() - began,
    }


class Curve(callbacks.DivergenceWatch):
    """Losses and metrics of a run in windows.

    The running means of `fit` are reset at the end of each window. Differences of means over the
    whole run would not do: Keras sums in float32, so a spike would hide all later losses.
    """

    def __init__(self, steps):
        super().__init__()
        self._last_share_from = max(1, steps - max(1, round(callbacks.LAST_SHARE * steps)))
        places = np.linspace(1, steps, min(steps, exploring.WINDOWS)).astype(int).tolist()
        self._reads = sorted({*places, self._last_share_from})
        self._logs, self._rounds = [], []

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 in self._reads:
            self._rounds.append(batch + 1)
            self._logs.append({name: float(value) for name, value in logs.items()})
            self.model.reset_metrics()
            self.check_loss(self._logs[-1]["loss"])

    def windows(self):
        """Returns the rounds that were read, and the mean loss between them and those before."""
        return self._rounds, [log["loss"] for log in self._logs]

    def final_loss(self):
        """Returns the mean loss over the last share of the run."""
        return self._final("loss")

    def final_metrics(self):
        """Returns the means of the other metrics over the last share of the run."""
        return {name: self._final(name) for name in self._logs[-1] if name != "loss"}

    def _final(self, name):
        lengths = np.diff(self._rounds, prepend=0)
        # In a run of one round that one is the last share.
        kept = [index for index, end in enumerate(self._rounds) if end > self._last_share_from] or [
            -1
        ]
        values = [self._logs[index][name] for index in kept]
        return float(np.average(values, weights=lengths[kept]))


def finish(run, directory):
    """Returns a run as its file holds it; trains it first if there is no file."""
    return run_files.run_once(_path(run, directory), lambda: train(run))


def _path(run, directory):
    return directory / "runs" / f"{run.name}.json"


def finish_all(runs, directory, workers=1, ray_address=None):
    """Trains the runs that have no file yet, in this process, in several, or on a cluster.

    Args:
        runs: A list of `Run`.
        directory: The directory of their files; all workers of a cluster have to see it.
        workers: Processes on this machine.
        ray_address: Address of a Ray cluster, or `None`. Where a worker dies, Ray repeats its run.

    Returns:
        The runs as dictionaries, in the same order.

    Raises:
        UsageError: if there is no Ray or no cluster, a worker died for good, or wrote its runs to a
            place that cannot be seen from here.
    """
    held = {run: run_files.read(_path(run, directory)) for run in runs}
    todo = [run for run, found in held.items() if found is None]
    done = _done(todo, directory, workers, ray_address)
    begun = {"initial": len(runs) - len(todo), "unit": "run", "dynamic_ncols": True}
    with tqdm.tqdm(total=len(runs), **begun) as bar:
        for _ in done:
            bar.update()
    held |= {run: run_files.read(_path(run, directory)) for run in todo}
    missing = [run.name for run, found in held.items() if found is None]
    if missing:
        raise UsageError(
            f"{', '.join(missing)}: trained, but {directory} does not hold them: "
            "--output_dir has to be a directory that all workers share"
        )
    return [held[run] for run in runs]


def _done(todo, directory, workers, ray_address):
    """Returns an iterator that trains."""
    if ray_address is not None:
        return _on_cluster(todo, directory, ray_address, _ray())
    if workers == 1:
        return (finish(run, directory) for run in todo)
    return _in_processes(todo, directory, workers)


def _in_processes(todo, directory, workers):
    # A process takes seconds to start: no more of them than runs.
    jobs = min(workers, len(todo)) or 1
    pool = joblib.Parallel(n_jobs=jobs, backend="loky", return_as="generator_unordered")
    try:
        yield from pool(joblib.delayed(finish)(run, directory) for run in todo)
    except process.BrokenProcessPool as error:
        raise UsageError(
            f"one of {workers} processes was killed, perhaps for want of memory: try fewer "
            "--workers; what is finished is kept"
        ) from error


def _ray():
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "--ray_address needs Ray: install it with pip install 'ray>=2.40'"
        ) from error
    return ray


def _on_cluster(todo, directory, address, ray):
    ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
    remote = ray.remote(max_retries=3)(finish)
    # Workers have another working directory.
    directory = directory.resolve()
    waiting = [remote.remote(run, directory) for run in todo]
    while waiting:
        done, waiting = ray.wait(waiting)
        yield from ray.get(done)


@functools.lru_cache(maxsize=1)
def examples_of(task, data_dir):
    """Returns the examples of a task; a process keeps them for its next run."""
    return tasks.examples(tasks.get(task), data_dir)
