"""Trainings that are killed, each in a process of its own, and what they leave when they end.

A process is forked from a server that has imported all of this, which takes no time; it writes what
it found into a file at its end.
"""

import contextlib
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
import time

import h5py
import keras
import numpy as np

import keras_taylor as kt
from keras_taylor.trajectory import storage

STEPS, EPOCHS = 60, 8


def _data(rounds, batch=8):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rounds, batch, 6)).astype("float32")
    return x, np.tanh(x[..., :2])


def _model(optimizer, dropout=0.0):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    hidden = keras.layers.Dropout(dropout)(keras.layers.Dense(5, "relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    model.compile(optimizer, loss="mse")
    return model


def _state(model):
    return [np.asarray(v).tolist() for v in (*model.variables, *model.optimizer.variables)]


def record_all(directory):
    """Records every round."""
    return _recorded(directory, keep="bfloat16")


def record_sample(directory):
    """Records a sample of the rounds."""
    return _recorded(directory, sample=24)


def _recorded(directory, **options):
    storage.SHARD_ROUNDS = 8
    model = _model(kt.optimizers.RegretTracker(keras.optimizers.Adam(0.01)), dropout=0.2)
    batches = list(zip(*_data(STEPS), strict=True))
    options = {"steps": STEPS, "start": 5, "resume": True, "verbose": 0} | options
    trajectory = kt.record(model, batches, directory / "run", **options)
    rounds = [
        [round.number, round.loss, *(w.tolist() for w in round.weights)] for round in trajectory
    ]
    sums = []
    if trajectory.is_sampled:
        sums = [[end, trajectory.sums.average_loss(end)] for end in trajectory.sums.ends]
    return {"state": _state(model), "rounds": rounds, "sums": sums, "e": trajectory.weight_error}


def fit(directory):
    """Trains with a tracker under `BackupAndRestore`.

    Without Dropout: Keras does not restore the state of its seed, for plain optimizers neither. And
    where it was killed while it wrote a backup, that is half a file: training begins again.
    """
    with contextlib.suppress(FileNotFoundError):
        for file in (directory / "backup").glob("*.h5"):
            try:
                h5py.File(file).close()
            except OSError:
                shutil.rmtree(directory / "backup")
    model = _model(kt.optimizers.RegretTracker(keras.optimizers.Adam(0.01)))
    x, y = (array.reshape(-1, array.shape[-1]) for array in _data(12))
    backup = keras.callbacks.BackupAndRestore(directory / "backup", delete_checkpoint=False)
    options = {"epochs": EPOCHS, "batch_size": 8, "shuffle": False, "verbose": 0}
    model.fit(x, y, callbacks=[backup], **options)
    regrets = {key: float(value) for key, value in model.optimizer.linear_regret("layers").items()}
    return {"weights": [w.tolist() for w in model.get_weights()], "regrets": regrets}


def taylor_regret(directory):
    """Runs the main experiment on the digits."""
    from experiments import taylor_regret as binary
    from experiments.runs.settings import RegretSettings

    settings = RegretSettings(
        optimizers=("sgd", "adam"),
        max_steps=40,
        burn_in=5,
        recorded_rounds=35,
        tolerance=0.2,
        parts=("network",),
        horizons=1,
        data_dir=str(directory / "data"),
        output_dir=str(directory / "out"),
    )
    return _results(binary.main(settings))


def optimizer_comparison(directory):
    """Runs the comparison of tuned optimizers on the digits."""
    from experiments import optimizer_comparison as binary
    from experiments.runs.settings import ComparisonSettings

    settings = ComparisonSettings(
        optimizers=("sgd", "adam"),
        factors=(0.1, 1.0),
        extensions=0,
        max_steps=30,
        seeds=2,
        data_dir=str(directory / "data"),
        output_dir=str(directory / "out"),
    )
    return _results(binary.main(settings))


def _results(directory):
    """Returns the results of an experiment without what time and the machine have to do with."""
    found = json.loads((pathlib.Path(directory) / "results.json").read_text())
    return _without(found, ("seconds", "environment", "configuration", "data_dir"))


def _without(value, names):
    if isinstance(value, dict):
        return {
            key: _without(item, names)
            for key, item in value.items()
            if not any(name in key for name in names)
        }
    return [_without(item, names) for item in value] if isinstance(value, list) else value


class Victim:
    """A training in a directory, which may be killed and started again.

    Args:
        train: One of the functions above.
        directory: The directory.
    """

    def __init__(self, train, directory):
        self._train, self._directory = train, directory
        self._result = directory / "result.json"

    def run(self, kill_after=None):
        """Starts the training and waits for its end, or kills it.

        Args:
            kill_after: Seconds after which it is killed; `None` to let it end.

        Returns:
            Seconds until the end; `None` where it was killed.
        """
        began = time.monotonic()
        process = _context().Process(target=_run, args=(self._train, self._directory))
        process.start()
        process.join(kill_after)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        return None if process.exitcode == -signal.SIGKILL else time.monotonic() - began

    def result(self):
        """Returns what the training found, or `None` where it has not ended well."""
        with contextlib.suppress(FileNotFoundError):
            return json.loads(self._result.read_text())
        return None


def _context():
    # The server knows no other places than these: it does not take `sys.path` from here.
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _run(train, directory):
    for name in ("stdout", "stderr"):
        os.dup2(os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), _number(name))
    found = json.dumps(train(directory))
    (directory / "partial.json").write_text(found)
    os.replace(directory / "partial.json", directory / "result.json")


def _number(name):
    return {"stdout": 1, "stderr": 2}[name]
