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

def apply(strategy, make, rounds=3):
    # Applies gradients of given values eagerly; returns the optimizer and the weights of the last
    # replica. Each replica has a share of gradient and loss, as `fit` gives it.
    with strategy.scope():
        weights = [keras.Variable(np.ones((3, 2), "float32"), name="kernel"),
                   keras.Variable(np.zeros(2, "float32"), name="bias")]
        optimizer = make()
        optimizer.build(weights)
    count = strategy.num_replicas_in_sync
    random = np.random.default_rng(1)
    for _ in range(rounds):
        kernels, biases = random.normal(size=(2, 3, 2)), random.normal(size=(2, 2))
        losses = random.uniform(size=2)
        def round_of_replica():
            mine = slice(None) if count == 1 else [replica()]
            optimizer.scale_loss(tf.constant(losses[mine].sum(), "float32"))
            shares = [each[mine].sum(axis=0) for each in (kernels, biases)]
            optimizer.apply([tf.constant(share, "float32") for share in shares], weights)
        strategy.run(round_of_replica)
    return optimizer, [np.array(strategy.experimental_local_results(w.value)[-1]) for w in weights]

def replica():
    return int(tf.distribute.get_replica_context().replica_id_in_sync_group)

def readings(optimizer):
    while optimizer is not None and not isinstance(optimizer, kt.optimizers.RegretTracker):
        optimizer = getattr(optimizer, "inner_optimizer", None)
    if optimizer is None:
        return {}
    names = ("linear_regret", "guarantee", "step_ratio", "gradient_agreement", "gradient_norm")
    found = {name: getattr(optimizer, name)() for name in names}
    if optimizer.track_snr:
        found |= {f"snr {of}": optimizer.snr(of=of) for of in kt.signal_to_noise.KINDS}
    return found | {"loss": optimizer.average_loss, "steps": optimizer.steps}

O = kt.optimizers
def sgd(**options):
    return keras.optimizers.SGD(0.1, momentum=0.9, **options)

WRAPPERS = {
    "tracker": lambda: O.RegretTracker(sgd(), track_snr=True),
    "fixed radius": lambda: O.RegretTracker(sgd(), radius=2.0),
    "by weight": lambda: O.RMSNormalized(sgd()),
    "by unit": lambda: O.RMSNormalized(sgd(), granularity="unit"),
    "by layer": lambda: O.RMSNormalized(sgd(), granularity="layer"),
    "tracker of normalised": lambda: O.RegretTracker(O.RMSNormalized(sgd(), granularity="unit")),
    "normalised tracker": lambda: O.RMSNormalized(O.RegretTracker(sgd())),
}
for name, make in WRAPPERS.items():
    (one, of_one), (two, of_two) = apply(tf.distribute.get_strategy(), make), apply(mirrored, make)
    for first, second in zip(of_one, of_two):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6, err_msg=name)
    of_two = readings(two)
    for reading, value in readings(one).items():
        np.testing.assert_allclose(value, of_two[reading], rtol=1e-4, err_msg=f"{name}: {reading}")

def refused(make, reason):
    try:
        apply(mirrored, make, rounds=1)
    except ValueError as error:
        assert reason in str(error) and "cannot train on 2 replicas" in str(error), error
    else:
        raise AssertionError(f"trained all the same: {reason}")

outside, inner_outside = O.RegretTracker(sgd()), sgd()
refused(lambda: outside, "was made outside of the strategy's scope")
refused(lambda: O.RegretTracker(inner_outside), "was made outside of the strategy's scope")
refused(lambda: O.LossScaled(O.RegretTracker(sgd())), "on the first replica alone")
accumulating = {"gradient_accumulation_steps": 2}
refused(lambda: O.RegretTracker(sgd(**accumulating)), "gradient_accumulation_steps=2")
refused(lambda: O.RMSNormalized(sgd(**accumulating)), "gradient_accumulation_steps=2")
overwriting = {"use_ema": True, "ema_overwrite_frequency": 5}
refused(lambda: O.RegretTracker(sgd(**overwriting)), "ema_overwrite_frequency=5")
apply(mirrored, lambda: O.RegretTracker(sgd(use_ema=True)), rounds=1)
keras.config.set_dtype_policy("mixed_float16")
refused(lambda: O.RegretTracker(sgd()), "mixed_bfloat16")
keras.config.set_dtype_policy("mixed_bfloat16")
apply(mirrored, lambda: O.RegretTracker(sgd()), rounds=1)
print("equal")
"""


def test_two_replicas_give_the_sums_of_one_and_what_keras_breaks_is_refused():
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert finished.stdout.strip().endswith("equal")
