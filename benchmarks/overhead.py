"""Cost of a training step under a RegretTracker over a bare one, interleaved in one process.

    python -m benchmarks.overhead --output=out/overhead.json

Takes about three minutes on two cores. Expect close to 1 on the CIFAR-10 convnet (batch 128),
and more on the MNIST autoencoder (batch 64), whose steps take a millisecond and consist of
many small operations. Prints the median ratio and milliseconds a step, and writes them as JSON.
"""

import itertools

import keras
from absl import app

import keras_taylor as kt
from benchmarks import reporting, timing
from experiments.reports import formatting

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(1e-3),
    "adam": lambda: keras.optimizers.Adam(1e-3),
}
BLOCKS = {"convnet": 15, "autoencoder": 60}


def measure(network, optimizer, jit_compile):
    """Returns the ratios to a bare step, and milliseconds a bare step.

    The tracker sums linear regret and the guarantee; then also the step ratio; then, without that,
    two metrics read it.
    """
    data = timing.batch(network)
    rounds = timing.ROUNDS[network]
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
    return timing.compiled(network, optimizer, metrics=metrics, jit_compile=jit_compile)


def main(_):
    """Measures all cases, prints them and writes them where asked to."""
    cases = itertools.product(timing.NETWORKS, OPTIMIZERS, (False, True))
    rows = [measure(*case) for case in cases]
    formatting.print_measurements("A step under RegretTracker over a bare step", rows)
    reporting.write({"rows": rows})


if __name__ == "__main__":
    app.run(main)
