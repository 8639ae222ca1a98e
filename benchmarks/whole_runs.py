r"""Samples of whole runs: what recording adds, what a pass costs, what an optimum does as N grows.

    python -m benchmarks.whole_runs --output=out/whole_runs.json

Takes about ten minutes on two cores, and needs no data set. First, the CIFAR-10 convnet is trained
on made-up images, by `fit` and by `record`, which keeps as large a share of the rounds as 600 of
3,900, and sixteen examples of each. Of these rounds, each layer's passes are timed: the value and
gradient, and a curvature product, through the model and on what is kept of the layer;
seconds are for the 300 rounds that a sample of 600 solves over. Then a small classifier is trained
for 1,000, 10,000 and 100,000 rounds at two batch sizes, of which 200 rounds of sixteen examples are
kept; expect the seconds of a solve to depend on neither.
"""

import functools
import pathlib
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import keras_taylor as kt
from benchmarks import reporting
from experiments.reports import formatting
from experiments.tasks import tasks
from keras_taylor.optimum.driver import objectives
from keras_taylor.optimum.objective import Objective
from keras_taylor.optimum.requests import Evaluate, Multiply
from keras_taylor.optimum.sampled_rounds import rounds_of
from keras_taylor.weights.parts import Part

SHARE_KEPT, EXAMPLES = 600 / 3900, 16
SOLVED_PARTS, PASSES = ("network", "layer:hidden"), 20
# The rounds of one sample of two, of 600.
ROUNDS_SOLVED = 300

_STEPS = flags.DEFINE_integer("steps", 104, "Rounds of the convnet that are timed.")
_BLOCKS = flags.DEFINE_integer("blocks", 3, "How often fit and record are timed, in turn.")
_LENGTHS = flags.DEFINE_list("lengths", [1_000, 10_000, 100_000], "Rounds N of the classifier.")
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", [32, 256], "Batch sizes of the classifier.")


def main(_):
    """Measures, prints the figures and writes them where asked to."""
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        recording = measure_recording(directory)
        passes = measure_passes(directory / "0" / "run")
        solving = [
            measure_solving(directory, int(length), int(size))
            for size in _BATCH_SIZES.value
            for length in _LENGTHS.value
        ]
    formatting.print_measurements("Recording a sample", [recording])
    formatting.print_measurements("Passes of a layer, seconds", passes)
    formatting.print_measurements("An optimum over a sample", solving)
    reporting.write({"recording": recording, "passes": passes, "solving": solving})


def measure_recording(directory):
    """Returns the seconds of the convnet's training with and without recording, and the ratio."""
    steps = _STEPS.value
    sample = max(4, round(SHARE_KEPT * steps))
    pairs = [_timed_pair(directory / str(block), steps, sample) for block in range(_BLOCKS.value)]
    plain, recorded = (min(times) / steps for times in zip(*pairs, strict=True))
    size = sum(file.stat().st_size for file in (directory / "0" / "run").iterdir())
    return {
        "steps": steps,
        "fit_ms_a_step": 1e3 * plain,
        "record_ms_a_step": 1e3 * recorded,
        "ratio": recorded / plain,
        "mib_of_600_rounds": size / 2**20 * 600 / sample,
    }


def _timed_pair(directory, steps, sample):
    """Returns the seconds of `fit` and of `record`, of one model."""
    task = tasks.get("cifar10_convnet")
    data = _images(task.batch_size, steps)
    keras.utils.set_random_seed(0)
    model = task.build_model()
    model.compile(keras.optimizers.Adam(1e-3), loss=task.build_loss())
    options = {"examples": EXAMPLES, "verbose": 0}
    # What is traced once, and the check of how the model is differentiated, is not a round's.
    kt.record(model, data, directory / "warm", steps=8, **options)
    model.fit(data.take(2), verbose=0)
    plain = _seconds(lambda: model.fit(data, verbose=0))
    options |= {"steps": steps, "sample": sample}
    return plain, _seconds(lambda: kt.record(model, data, directory / "run", **options))


def measure_passes(path):
    """Returns for each layer of a recorded convnet the seconds of its passes."""
    task = tasks.get("cifar10_convnet")
    model = task.build_model()
    model.compile(keras.optimizers.Adam(1e-3), loss=task.build_loss())
    rounds = rounds_of(kt.Trajectory(path), model)
    scale = ROUNDS_SOLVED / rounds.kept(len(rounds))
    return [_passes_of(rounds, layer, scale) for layer in rounds.scopes.layers]


def _passes_of(rounds, layer, scale):
    part = Part(rounds.scopes, f"layer:{layer}")
    # What is kept of the layer is collected here.
    (on_features,) = objectives(rounds, [part.name])
    through_model = Objective(rounds, [part])
    point = part.vector(rounds.first)
    vector = np.random.default_rng(0).normal(size=point.shape)
    row = {"layer": layer, "has_features": on_features.is_on_features}
    for name, one in {"through the model": through_model, "on features": on_features}.items():
        for kind, request in {
            "product": Multiply(point, vector),
            "value": Evaluate(point),
        }.items():
            run = functools.partial(one.answers, {0: request})
            run()  # Traces.
            row[f"{kind} {name}"] = scale * min(_seconds(run) for _ in range(3))
    return row


def _seconds(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _images(batch_size, steps):
    generator = np.random.default_rng(0)
    x = generator.random((batch_size, 32, 32, 3), "float32")
    y = generator.integers(0, 10, batch_size)
    return tf.data.Dataset.from_tensors((x, y)).repeat(steps)


def measure_solving(directory, length, batch_size):
    """Returns the seconds of recording a run of that length, and of solving over its sample."""
    path = directory / f"{length}_{batch_size}"
    keras.utils.set_random_seed(0)
    inputs = keras.Input((20,))
    hidden = keras.layers.Dense(32, "relu", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(5, name="logits")(hidden))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss=loss)
    began = time.perf_counter()
    batches = _labelled(length, batch_size)
    trajectory = kt.record(
        model, batches, path, steps=length, sample=200, examples=EXAMPLES, verbose=0
    )
    row = {"N": length, "batch": batch_size, "record_s": time.perf_counter() - began}
    for part in SOLVED_PARTS:
        began = time.perf_counter()
        options = {"tolerance": 1e-9, "max_passes": PASSES, "verbose": 0}
        found = kt.taylor_optimum(trajectory, model, part, **options)
        row[f"{part} s"] = time.perf_counter() - began
        row[f"{part} passes"] = found.passes
    return row


def _labelled(length, batch_size):
    generator = np.random.default_rng(0)
    teacher = generator.normal(size=(20, 5))
    for _ in range(length):
        x = generator.normal(size=(batch_size, 20)).astype("float32")
        yield x, (x @ teacher + generator.normal(size=(batch_size, 5))).argmax(-1)


if __name__ == "__main__":
    app.run(main)
