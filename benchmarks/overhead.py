"""Cost of a training step under a RegretTracker over a bare one, interleaved in one process.

    python -m benchmarks.overhead --output=out/overhead.json

Takes about four minutes on two cores. Expect close to 1 on the CIFAR-10 convnet (batch 128),
and more on the MNIST autoencoder (batch 64), whose steps take a millisecond and consist of
many small operations. A table of embeddings (200,000 x 16, batch 32) is tracked by the rows that a
batch touches under SGD, and as a whole under Adam, which moves all rows. Prints the median ratio
and milliseconds a step, and writes them as JSON.
"""

import itertools

import keras
import numpy as np
import tensorflow as tf
from absl import app

import keras_taylor as kt
from benchmarks import reporting, timing
from experiments.reports import formatting

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(1e-3),
    "adam": lambda: keras.optimizers.Adam(1e-3),
}
BLOCKS = {"convnet": 15, "autoencoder": 60, "embedding": 15}
TABLE, BATCH, ROUNDS = (200_000, 16), 32, 20


def measure(network, optimizer, jit_compile):
    """Returns the ratios to a bare step, and milliseconds a bare step.

    The tracker sums linear regret and the guarantee; then also the step ratio; then, without that,
    two metrics read it.
    """
    is_table = network == "embedding"
    data = _ids() if is_table else timing.batch(network)
    rounds = ROUNDS if is_table else timing.ROUNDS[network]
    functions = {
        name: timing.stepper(
            _model(network, OPTIMIZERS[optimizer](), name, jit_compile), data, rounds
        )
        for name in ("bare", "tracked", "with step ratio", "with metrics")
    }
    seconds = timing.interleaved(functions, BLOCKS[network])
    return {
        "network": network,
        "optimizer": optimizer,
        "mode": "XLA" if jit_compile else "graph",
        "tracked": timing.ratio(seconds, "tracked", "bare"),
        "with_step_ratio": timing.ratio(seconds, "with step ratio", "bare"),
        "with_metrics": timing.ratio(seconds, "with metrics", "bare"),
        "milliseconds_a_bare_step": 1000 * min(seconds["bare"]) / rounds,
    }


def _model(network, optimizer, name, jit_compile):
    metrics = []
    if name != "bare":
        ratio = name == "with step ratio"
        optimizer = kt.optimizers.RegretTracker(optimizer, track_step_ratio=ratio)
    if name == "with metrics":
        metrics = [kt.metrics.LinearRegret(optimizer), kt.metrics.OptimumLowerBound(optimizer)]
    if network != "embedding":
        return timing.compiled(network, optimizer, metrics=metrics, jit_compile=jit_compile)
    keras.utils.set_random_seed(0)
    ids = keras.Input((), dtype="int32")
    model = keras.Model(ids, keras.layers.Dense(1)(keras.layers.Embedding(*TABLE)(ids)))
    model.compile(optimizer, loss="mse", metrics=metrics, jit_compile=jit_compile)
    return model


def _ids():
    ids = np.random.default_rng(0).integers(0, TABLE[0], BATCH)
    return tf.constant(ids, "int32"), tf.ones((BATCH, 1))


def main(_):
    """Measures all cases, prints them and writes them where asked to."""
    cases = itertools.product(BLOCKS, OPTIMIZERS, (False, True))
    rows = [measure(*case) for case in cases]
    formatting.print_measurements("A step under RegretTracker over a bare step", rows)
    reporting.write({"rows": rows})


if __name__ == "__main__":
    app.run(main)
