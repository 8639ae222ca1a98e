"""A TaylorModel under `tf.distribute`: in a process of its own, since devices are set up once."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
import cases, keras, numpy as np, tensorflow as tf
import keras_taylor as kt

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
# In Keras 3.12 it is a sum over the batch, which is not the mean of the sums over its halves.
activity = "l2" if cases.activity_divisor(2) == 2 else None

def shared(h):
    h = keras.layers.Dense(5, "relu", kernel_regularizer="l2")(h)
    return keras.layers.Dense(2, activity_regularizer=activity)(h)

def apart(h):
    added = keras.layers.Add()([keras.layers.LayerNormalization()(h), h])
    return keras.layers.Dense(2, kernel_regularizer="l2")(added)

def train(strategy, build, comparator):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        inputs = keras.Input((4,))
        model = keras.Model(inputs, build(inputs))
        if comparator:
            model = kt.TaylorModel.from_model(model, comparator)
        # Initial weights do not depend on the seed alone under a strategy.
        generator = np.random.default_rng(1)
        model.set_weights([0.3 * generator.normal(size=w.shape) for w in model.get_weights()])
        model.compile(keras.optimizers.Adam(0.01), loss="mse")
    options = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}
    return model, model.fit(x, x[:, :2], **options).history

# One strategy for several models: TensorFlow mixes up the collectives of two over the same devices.
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
both = {"first": "initial", "mean": "average"}
for build in (shared, apart)[: int(sys.argv[1])]:
    one, history_of_one = train(tf.distribute.get_strategy(), build, both)
    two, history = train(mirrored, build, both)
    assert history.keys() == history_of_one.keys()
    for name, values in history_of_one.items():
        np.testing.assert_allclose(values, history[name], rtol=1e-5, atol=1e-6)
    for name in both:
        values = [model.average_taylor_loss(name) for model in (one, two)]
        np.testing.assert_allclose(*values, rtol=1e-5)
bare, _ = train(mirrored, build, None)
for observed, plain in zip(two.get_weights(), bare.get_weights(), strict=True):
    np.testing.assert_array_equal(observed, plain)
print("equal")
"""


@pytest.mark.parametrize(
    # Whether the expansion has a pass of its own matters little to replicas.
    "builds",
    [1, pytest.param(2, marks=pytest.mark.slow)],
)
def test_two_replicas_log_what_one_device_does(builds):
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(builds)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert finished.stdout.strip().endswith("equal")
