"""Cost of exact Taylor losses, as ratios of interleaved runs in one process.

    python -m benchmarks.taylor_loss --output=out/taylor_loss.json
    python -m benchmarks.taylor_loss --jax    # also against JAX (installed separately)
    python -m benchmarks.taylor_loss --peak_of=plain    # one process, for its peak memory alone

Takes about four minutes on two cores. Prints, for both networks, in a graph and under XLA: a
training step of a TaylorModel over a plain one; a step with one accumulator around the whole model
over a plain one, the simplest way to the same numbers; a step with the Taylor loss of every layer
over a plain one; and the peak memory of the convnet's steps. With `--jax`: one Taylor loss and
gradient here, and the same in JAX.
"""

import itertools
import os
import pathlib
import re
import subprocess
import sys

import keras
import tensorflow as tf
from absl import app, flags

import keras_taylor as kt
from benchmarks import reporting, timing
from experiments.reports import formatting

BLOCKS = {"convnet": 12, "autoencoder": 40}

_PEAK_OF = flags.DEFINE_string("peak_of", None, "Print the peak MiB of a kind of step and stop.")
_JAX = flags.DEFINE_bool("jax", False, "Compare with JAX, in a new process.")


class Simplest(keras.Model):
    """A training step with one `ForwardAccumulator` around the model, for comparison."""

    def train_step(self, data):
        x, y = data
        weights = [variable.value for variable in self.trainable_variables]
        tangents = [tf.ones_like(weight) * 1e-3 for weight in weights]
        with tf.autodiff.ForwardAccumulator(weights, tangents) as accumulator:
            with tf.GradientTape() as tape:
                outputs = self(x, training=True)
                loss = self.compute_loss(x, y, outputs)
            moved = outputs + accumulator.jvp(outputs)
        self.optimizer.apply(tape.gradient(loss, weights), self.trainable_variables)
        return {"loss": loss, "taylor_loss": self.compute_loss(x, y, moved)}


class EveryLayer(keras.Model):
    """A training step beside which the Taylor loss of every layer is computed."""

    def train_step(self, data):
        x, y = data
        comparator = [variable.value + 1e-3 for variable in self.trainable_variables]
        losses = kt.taylor_loss(self, x, y, comparator, "layers", loss=self.loss)
        return super().train_step(data) | losses


WRAPPERS = {
    "plain": None,
    "taylor_model": kt.TaylorModel.from_model,
    "simplest": lambda model: Simplest(model.inputs, model.outputs),
    "every_layer": lambda model: EveryLayer(model.inputs, model.outputs),
}


def print_peak(kind, steps=12):
    """Prints the peak MiB that steps of the convnet add to a process that has built it."""
    optimizer = keras.optimizers.Adam(1e-3)
    model = timing.compiled("convnet", optimizer, WRAPPERS[kind], jit_compile=False)
    run = timing.stepper(model, timing.batch("convnet"), steps)
    before = _peak_kibibytes()
    run()
    print((_peak_kibibytes() - before) / 1024)


def _peak_kibibytes():
    # Not from `resource`: there a process inherits the peak of the process that started it.
    text = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"^VmHWM:\s*(\d+) kB", text, re.MULTILINE).group(1))


def peaks():
    """Returns the peak MiB of the kinds of steps on the convnet, each in a new process."""
    return {
        kind: float(_last_line("benchmarks.taylor_loss", f"--peak_of={kind}")) for kind in WRAPPERS
    }


def step_ratios(network, jit_compile):
    """Returns the ratios of training steps to a plain one, and milliseconds of that."""
    rounds = timing.ROUNDS[network]
    data = timing.batch(network)
    functions = {}
    for name, wrapper in WRAPPERS.items():
        optimizer = keras.optimizers.Adam(1e-3)
        model = timing.compiled(network, optimizer, wrapper, jit_compile=jit_compile)
        functions[name] = timing.stepper(model, data, rounds)
    seconds = timing.interleaved(functions, BLOCKS[network])
    return {
        "network": network,
        "mode": "XLA" if jit_compile else "graph",
        **{name: timing.ratio(seconds, name, "plain") for name in list(WRAPPERS)[1:]},
        "milliseconds_a_plain_step": 1000 * min(seconds["plain"]) / rounds,
    }


def milliseconds_here(network, jit_compile):
    """Returns the least milliseconds of one Taylor loss and gradient of the network."""
    model = timing.compiled(network, keras.optimizers.Adam(1e-3))
    x, y = timing.batch(network)
    comparator = [variable.value + 1e-3 for variable in model.trainable_variables]

    @tf.function(jit_compile=jit_compile)
    def run():
        value, gradient = kt.taylor_loss_and_gradient(model, x, y, comparator)
        return [value, *gradient]

    return timing.least_milliseconds(lambda: run()[0].numpy(), timing.CALLS[network])


def against_jax(network):
    """Returns the milliseconds of a Taylor loss and gradient here and in JAX."""
    return {
        "network": network,
        "graph": milliseconds_here(network, False),
        "XLA": milliseconds_here(network, True),
        "JAX": milliseconds_in_jax(network),
    }


def milliseconds_in_jax(network):
    """Returns the same for Keras on JAX, measured in a new process."""
    return float(_last_line("benchmarks.jax_taylor_loss", network, KERAS_BACKEND="jax"))


def _last_line(module, argument, **variables):
    command = [sys.executable, "-m", module, argument]
    environment = os.environ | variables
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"python -m {module} {argument} failed:\n{finished.stderr[-2000:]}")
    return finished.stdout.splitlines()[-1]


def main(_):
    """Measures all cases, prints them and writes them where asked to."""
    if _PEAK_OF.value:
        print_peak(_PEAK_OF.value)
        return
    report = {"steps": timing.alone(step_ratios, itertools.product(BLOCKS, (False, True)))}
    formatting.print_measurements("Over a plain training step", report["steps"])
    report["peak_mebibytes"] = peaks()
    formatting.print_measurements("Peak MiB of the convnet's steps", [report["peak_mebibytes"]])
    if _JAX.value:
        report["jax"] = timing.alone(against_jax, zip(BLOCKS, strict=True))
        formatting.print_measurements("Taylor loss and gradient, milliseconds", report["jax"])
    reporting.write(report)


if __name__ == "__main__":
    app.run(main)
