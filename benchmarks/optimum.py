"""Taylor optima of the MNIST autoencoder: intervals, passes, and a pass over training steps.

    python -m benchmarks.optimum --data_dir=~/tensorflow_datasets --output=out/optimum.json

Takes about two minutes on two cores. For each optimizer: 900 rounds of burn-in and 300 recorded,
network scope, R the distance travelled. Expect SGD to have the highest optimum and Adam the least
regret, at most a hundred passes, and a pass to cost about as much as 300 training steps.
"""

import pathlib
import tempfile
import time

import keras
from absl import app, flags

import keras_taylor as kt
from benchmarks import reporting
from experiments import optimizers, tables, tasks

BURN_IN, RECORDED, TIMED = 900, 300, 300

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Directory of prepared TensorFlow Datasets.")
_TOLERANCE = flags.DEFINE_float("tolerance", 0.005, "The gap to reach, relative to the value.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the weights and of the order of the data.")


def measure(task, examples, choice, directory):
    """Returns the optimum of one run, and what a pass costs over the run's training steps."""
    keras.utils.set_random_seed(_SEED.value)
    model = task.build_model()
    model.compile(choice.build(), loss=task.build_loss())
    batches = tasks.batches(task, examples, _SEED.value).repeat()
    path = pathlib.Path(directory) / choice.name
    trajectory = kt.record(model, batches, path, steps=BURN_IN + RECORDED, start=BURN_IN, verbose=0)
    start = time.perf_counter()
    found = kt.taylor_optimum(trajectory, model, tolerance=_TOLERANCE.value, verbose=0)
    seconds = time.perf_counter() - start
    step = _seconds_a_step(model, batches)
    return {
        "optimizer": choice.label,
        "R": found.radius,
        "average_loss": found.average_loss,
        "lower_bound": found.lower_bound,
        "optimum": found.value,
        "regret": found.regret[0],
        "gap_percent": 100 * found.gap / abs(found.value),
        "passes": found.passes,
        "pass_over_steps": seconds / found.passes / (RECORDED * step),
    }


def _seconds_a_step(model, batches):
    """Returns the seconds of a training step in `fit`, after one to warm up."""
    model.fit(batches, steps_per_epoch=TIMED, shuffle=False, verbose=0)
    start = time.perf_counter()
    model.fit(batches, steps_per_epoch=TIMED, shuffle=False, verbose=0)
    return (time.perf_counter() - start) / TIMED


def main(_):
    """Measures all optimizers, prints the figures and writes them where asked to."""
    task = tasks.get("mnist_autoencoder")
    examples = tasks.examples(task, _DATA_DIR.value)
    with tempfile.TemporaryDirectory() as directory:
        rows = [
            measure(task, examples, optimizers.parse(name), directory)
            for name in ("sgd", "rmsprop", "adam")
        ]
    tables.print_measurements("Taylor optima of the MNIST autoencoder", rows)
    reporting.write({"rows": rows})


if __name__ == "__main__":
    app.run(main)
