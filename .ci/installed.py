"""What a new user does with an installed keras_taylor: trains with a tracker and decomposes."""

import importlib.util
import pathlib
import sys
import tempfile
from importlib import metadata

import keras
import numpy as np

import keras_taylor as kt


def main():
    """Trains a small network under a tracker and prints what it was told."""
    place = pathlib.Path(kt.__file__)
    assert pathlib.Path(sys.prefix) in place.parents, f"imported from {place}"
    for absent in ("experiments", "tests", "benchmarks", "matplotlib", "tensorflow_datasets"):
        assert importlib.util.find_spec(absent) is None, f"{absent} was installed, too"
    print(f"keras_taylor {kt.__version__} from {place}")
    print(f"Keras {keras.__version__}, TensorFlow {metadata.version('tensorflow-cpu')}")
    print_decomposition()


def print_decomposition():
    """Trains, and prints the advice and the table of loss, optimum and regret."""
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(320, 8)).astype("float32")
    layers = [keras.layers.Dense(16, "relu", name="hidden"), keras.layers.Dense(1, name="output")]
    model = keras.Sequential([keras.Input((8,)), *layers], name="net")
    tracker = kt.optimizers.RegretTracker(keras.optimizers.SGD(0.02))
    model.compile(tracker, loss="mse")
    batches = [(x[i : i + 16], x[i : i + 16, :1] ** 2) for i in range(0, 320, 16)] * 5
    with tempfile.TemporaryDirectory() as directory:
        trajectory = kt.record(model, batches, f"{directory}/run", steps=100, verbose=0)
        table = kt.decompose(trajectory, model, ["network", "layers"], [100], verbose=0)
    print(kt.diagnose(tracker))
    for row in table.rows:
        ends = (row["optimum_lower"], row["optimum_upper"])
        assert ends[0] <= ends[1] <= row["average_loss"]
        print(
            f"{row['part']:>18}: {row['average_loss']:.3f} = optimum [{ends[0]:.3f}, "
            f"{ends[1]:.3f}] + regret"
        )
    assert int(tracker.steps) == 100


if __name__ == "__main__":
    main()
