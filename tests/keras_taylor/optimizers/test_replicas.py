"""The tracker under `tf.distribute`: in a process of its own, since devices are set up once."""

import os
import subprocess
import sys

SCRIPT = """
import sys
import keras, numpy as np, tensorflow as tf
import keras_taylor as kt

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.random.default_rng(0).normal(size=(48, 4)).astype("float32")

def train(strategy, wrap):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        layers = [keras.layers.Dense(5, "relu", name="a"), keras.layers.Dense(2, name="b")]
        model = keras.Sequential([keras.Input((4,)), *layers], name="net")
        optimizer = keras.optimizers.Adam(0.01)
        metrics = None
        if wrap:
            optimizer = kt.optimizers.RegretTracker(optimizer)
            metrics = [kt.metrics.LinearRegret(optimizer), kt.metrics.AverageLoss(optimizer)]
        model.compile(optimizer, loss="mse", metrics=metrics)
    history = model.fit(x, x[:, :2], batch_size=16, epochs=2, shuffle=False, verbose=0)
    return optimizer, history.history, model.get_weights()

mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
one, history_of_one, _ = train(tf.distribute.get_strategy(), True)
two, history, weights = train(mirrored, True)
_, _, bare = train(mirrored, False)
assert int(one.steps) == int(two.steps) == 6, (one.steps, two.steps)
for scope in ("layers", "units"):
    for layer, value in one.linear_regret(scope).items():
        np.testing.assert_allclose(value, two.linear_regret(scope)[layer], rtol=1e-3, atol=1e-5)
for name, values in history_of_one.items():
    np.testing.assert_allclose(values, history[name], rtol=1e-3)
np.testing.assert_allclose(history["average_loss"][-1], np.mean(history["loss"]), rtol=1e-5)
for tracked, plain in zip(weights, bare):
    np.testing.assert_array_equal(tracked, plain)
print("equal")
"""


def test_two_replicas_give_the_sums_of_one():
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert finished.stdout.strip().endswith("equal")
