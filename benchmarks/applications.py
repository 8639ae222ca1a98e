"""What a RegretTracker and a TaylorModel cost on networks that people train, over a bare step.

    python -m benchmarks.applications --output=out/applications.json

Takes about seven minutes on two cores. Networks of keras.applications, not pre-trained, on images
of 64 x 64 of noise, SGD with momentum, in a graph, each in a process of its own. Expect the tracker
to cost the more, the more weights there are for each example, and ratios of another run to differ
by two hundredths. Prints the median ratios and milliseconds a bare step, and writes them as JSON.
"""

import dataclasses
import resource

import keras
import numpy as np
import tensorflow as tf
from absl import app

import keras_taylor as kt
from benchmarks import reporting, timing
from experiments.reports import formatting

SIZE, CLASSES, BLOCKS = 64, 10, 31


@dataclasses.dataclass(frozen=True)
class Case:
    """A network of keras.applications and a batch size."""

    network: str
    batch_size: int

    def data(self):
        """Returns a batch of noise."""
        generator = np.random.default_rng(0)
        x = generator.uniform(size=(self.batch_size, SIZE, SIZE, 3)).astype("float32")
        return tf.constant(x), tf.constant(generator.integers(0, CLASSES, self.batch_size))

    def compiled(self, optimizer, wrap_model=lambda model: model):
        """Returns a new model, compiled with an optimizer."""
        keras.utils.set_random_seed(0)
        options = {"weights": None, "input_shape": (SIZE, SIZE, 3), "classes": CLASSES}
        model = wrap_model(getattr(keras.applications, self.network)(**options))
        model.compile(optimizer, loss="sparse_categorical_crossentropy", jit_compile=False)
        optimizer.build(model.trainable_variables)
        return model


CASES = (Case("ResNet50", 8), Case("ResNet50", 32), Case("MobileNetV2", 16))


def _optimizer():
    return keras.optimizers.SGD(1e-3, momentum=0.9)


def measure(case):
    """Returns the ratios to a bare step, and milliseconds a bare step."""
    tracker, data = kt.optimizers.RegretTracker, case.data()
    models = {
        "bare": case.compiled(_optimizer()),
        "tracked": case.compiled(tracker(_optimizer(), track_step_ratio=False)),
        "with step ratio": case.compiled(tracker(_optimizer())),
        "taylor model": case.compiled(_optimizer(), kt.TaylorModel.from_model),
    }
    functions = {name: timing.stepper(model, data, 1) for name, model in models.items()}
    seconds = timing.interleaved(functions, BLOCKS)
    return {
        "network": case.network,
        "batch_size": case.batch_size,
        "tracked": timing.ratio(seconds, "tracked", "bare"),
        "with_step_ratio": timing.ratio(seconds, "with step ratio", "bare"),
        "taylor_model": timing.ratio(seconds, "taylor model", "bare"),
        "milliseconds_a_bare_step": 1000 * min(seconds["bare"]),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def main(_):
    """Measures all cases, prints them and writes them where asked to."""
    rows = timing.alone(measure, [(case,) for case in CASES])
    formatting.print_measurements("Over a bare step", rows)
    reporting.write({"rows": rows})


if __name__ == "__main__":
    app.run(main)
