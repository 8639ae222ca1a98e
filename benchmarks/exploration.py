"""Cost of recording activation configurations, over an epoch of training and a forward pass.

    python -m benchmarks.exploration --output=out/exploration.json

Takes about a minute on two cores. On the CIFAR-10 convnet with a probe of 1,000 examples, measures
an epoch of 50,000 examples with a snapshot and all measures, divided by an epoch without (computed
from some timed steps), and a snapshot divided by a forward pass of the probe.
"""

import time

import keras
import numpy as np
from absl import app

import keras_taylor as kt
from benchmarks import reporting, timing
from experiments.reports import formatting

EXAMPLES, PROBE, BLOCKS = 50_000, 1_000, 10


def main(_):
    """Measures, prints the figures and writes them where asked to."""
    model = timing.compiled("convnet", keras.optimizers.Adam(1e-3))
    data, steps = timing.batch("convnet"), timing.ROUNDS["convnet"]
    step = timing.stepper(model, data, steps)
    probe = np.random.default_rng(0).uniform(size=(PROBE, *model.input_shape[1:]))
    probe = probe.astype("float32")
    recorder = kt.callbacks.ActivationRecorder(probe)
    recorder.set_model(model)
    recorder.on_train_begin()
    functions = {
        "steps": step,
        "forward": lambda: model.predict(probe, batch_size=256, verbose=0),
        "snapshot": recorder._probe.snapshot,
        "recorded": recorder.take,
    }
    began = time.perf_counter()
    seconds = {name: min(s) for name, s in timing.interleaved(functions, BLOCKS).items()}
    epoch = seconds["steps"] / steps * (EXAMPLES // len(data[0]))
    row = {
        "epoch_with_over_without": 1 + seconds["recorded"] / epoch,
        "snapshot_over_forward": seconds["snapshot"] / seconds["forward"],
        "snapshot_seconds": seconds["snapshot"],
        "all_measures_seconds": seconds["recorded"],
        "snapshot_mebibytes": recorder.snapshots[-1].nbytes / 2**20,
        "epoch_seconds": epoch,
        "snapshot_count": len(recorder.snapshots),
    }
    formatting.print_measurements("Recording activation configurations", [row])
    reporting.write({"rows": [row], "seconds": time.perf_counter() - began})


if __name__ == "__main__":
    app.run(main)
