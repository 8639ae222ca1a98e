r"""Taylor optima: intervals, passes, seconds, and a pass over the training steps it looks at.

    python -m benchmarks.optimum --data_dir=~/tensorflow_datasets --output=out/optimum.json
    python -m benchmarks.optimum --data_dir=~/tensorflow_datasets --task=cifar10_convnet \
        --optimizers=adam --burn_in=390 --recorded=50 --tolerance=0.02 \
        --parts=network,layer:dense_192,layer:logits

The first, on the MNIST autoencoder, takes about a minute on two cores: R is the distance
travelled; expect SGD to have the highest optimum and Adam the least regret, at most a hundred
passes, and a pass to cost about as much as 300 training steps. The second takes about nine
minutes, nearly all of them in the network's passes.
"""

import pathlib
import tempfile
import time

import keras
from absl import app, flags

import keras_taylor as kt
from benchmarks import reporting
from experiments.reports import formatting
from experiments.tasks import optimizers, tasks

TIMED_STEPS = {"mnist_autoencoder": 300, "cifar10_convnet": 10}

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Directory of prepared TensorFlow Datasets.")
_TASK = flags.DEFINE_enum("task", "mnist_autoencoder", list(TIMED_STEPS), "The task.")
_OPTIMIZERS = flags.DEFINE_list("optimizers", ["sgd", "rmsprop", "adam"], "The optimizers.")
_BURN_IN = flags.DEFINE_integer("burn_in", 900, "Rounds before the recorded ones.")
_RECORDED = flags.DEFINE_integer("recorded", 300, "Recorded rounds.")
_PARTS = flags.DEFINE_list("parts", ["network"], "Parts of the weights: network, layer:<key>, ...")
_TOLERANCE = flags.DEFINE_float("tolerance", 0.005, "The gap to reach, relative to the value.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the weights and of the order of the data.")


def measure(task, examples, choice, directory):
    """Returns the optima of one run's parts, and a pass's time over the steps'."""
    keras.utils.set_random_seed(_SEED.value)
    model = task.build_model()
    model.compile(choice.build(), loss=task.build_loss())
    batches = tasks.batches(task, examples, _SEED.value).repeat()
    steps = _BURN_IN.value + _RECORDED.value
    path = pathlib.Path(directory) / choice.name
    trajectory = kt.record(model, batches, path, steps=steps, start=_BURN_IN.value, verbose=0)
    rows = [_solve(trajectory, model, part) for part in _PARTS.value]
    step = _seconds_a_step(model, batches, TIMED_STEPS[task.name])
    for row in rows:
        row["optimizer"] = choice.label
        row["pass_over_steps"] = row["seconds"] / row["passes"] / (_RECORDED.value * step)
    return rows


def _solve(trajectory, model, part):
    began = time.perf_counter()
    found = kt.taylor_optimum(trajectory, model, part, tolerance=_TOLERANCE.value, verbose=0)
    return {
        "optimizer": None,
        "part": part,
        "R": found.radius,
        "average_loss": found.average_loss,
        "lower_bound": found.lower_bound,
        "optimum": found.value,
        "regret": found.average_regret[0],
        "gap_percent": 100 * found.gap / abs(found.value),
        "passes": found.passes,
        "seconds": time.perf_counter() - began,
    }


def _seconds_a_step(model, batches, steps):
    """Returns the seconds of a training step in `fit`, after some to warm up."""
    model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    began = time.perf_counter()
    model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    return (time.perf_counter() - began) / steps


def main(_):
    """Measures all optimizers, prints the figures and writes them where asked to."""
    task = tasks.get(_TASK.value)
    examples = tasks.examples(task, _DATA_DIR.value)
    with tempfile.TemporaryDirectory() as directory:
        rows = [
            row
            for name in _OPTIMIZERS.value
            for row in measure(task, examples, optimizers.parse(name), directory)
        ]
    formatting.print_measurements(f"Taylor optima: {task.name}", rows)
    reporting.write({"rows": rows})


if __name__ == "__main__":
    app.run(main)
