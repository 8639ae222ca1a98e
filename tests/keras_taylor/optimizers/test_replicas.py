"""The wrappers under `tf.distribute`: two replicas give the sums of one device."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt

optimizers = kt.optimizers


@pytest.fixture(scope="module")
def two_replicas():
    """A strategy with two replicas on processors, the only one of this process.

    TensorFlow mixes up the collectives of several that have the same devices.
    """
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def _sgd(**options):
    return keras.optimizers.SGD(0.1, momentum=0.9, **options)


def _train(strategy, wrap):
    x = np.random.default_rng(0).normal(size=(48, 4)).astype("float32")
    keras.utils.set_random_seed(0)
    with strategy.scope():
        layers = [keras.layers.Dense(5, "relu", name="a"), keras.layers.Dense(2, name="b")]
        model = keras.Sequential([keras.Input((4,)), *layers], name="net")
        optimizer = keras.optimizers.Adam(0.01)
        metrics = None
        if wrap:
            optimizer = optimizers.RegretTracker(optimizer)
            metrics = [kt.metrics.LinearRegret(optimizer), kt.metrics.AverageLoss(optimizer)]
        model.compile(optimizer, loss="mse", metrics=metrics)
    history = model.fit(x, x[:, :2], batch_size=16, epochs=2, shuffle=False, verbose=0)
    return optimizer, history.history, model.get_weights()


def test_sums_of_training_are_those_of_one_device(two_replicas):
    one, history_of_one, _ = _train(tf.distribute.get_strategy(), True)
    two, history, weights = _train(two_replicas, True)
    assert int(one.steps) == int(two.steps) == 6
    for scope in ("layers", "units"):
        for layer, value in one.linear_regret(scope).items():
            found = two.linear_regret(scope)[layer]
            np.testing.assert_allclose(value, found, rtol=1e-3, atol=1e-5)
    for name, values in history_of_one.items():
        np.testing.assert_allclose(values, history[name], rtol=1e-3)
    mean = np.mean(history["loss"])
    np.testing.assert_allclose(history["average_loss"][-1], mean, rtol=1e-5)
    _, _, bare = _train(two_replicas, False)
    for tracked, plain in zip(weights, bare, strict=True):
        np.testing.assert_array_equal(tracked, plain)


def _replica():
    return int(tf.distribute.get_replica_context().replica_id_in_sync_group)


def _apply(strategy, make, rounds=3):
    """Applies given gradients eagerly; returns the optimizer and the last replica's weights.

    Each replica has a share of gradient and loss, as `fit` gives it.
    """
    with strategy.scope():
        weights = [
            keras.Variable(np.ones((3, 2), "float32"), name="kernel"),
            keras.Variable(np.zeros(2, "float32"), name="bias"),
        ]
        optimizer = make()
        optimizer.build(weights)
    is_alone = strategy.num_replicas_in_sync == 1
    random = np.random.default_rng(1)
    for _ in range(rounds):
        kernels, biases = random.normal(size=(2, 3, 2)), random.normal(size=(2, 2))
        losses = random.uniform(size=2)

        def round_of_replica(kernels=kernels, biases=biases, losses=losses):
            mine = slice(None) if is_alone else [_replica()]
            optimizer.scale_loss(tf.constant(losses[mine].sum(), "float32"))
            shares = [each[mine].sum(axis=0) for each in (kernels, biases)]
            optimizer.apply([tf.constant(share, "float32") for share in shares], weights)

        strategy.run(round_of_replica)
    return optimizer, [np.array(strategy.experimental_local_results(w.value)[-1]) for w in weights]


def _readings(optimizer):
    while optimizer is not None and not isinstance(optimizer, optimizers.RegretTracker):
        optimizer = getattr(optimizer, "inner_optimizer", None)
    if optimizer is None:
        return {}
    names = ("linear_regret", "guarantee", "step_ratio", "gradient_agreement", "gradient_norm")
    found = {name: getattr(optimizer, name)() for name in names}
    if optimizer.track_snr:
        found |= {f"snr {of}": optimizer.snr(of=of) for of in kt.signal_to_noise.KINDS}
    return found | {"loss": optimizer.average_loss, "steps": optimizer.steps}


WRAPPERS = {
    "tracker": lambda: optimizers.RegretTracker(_sgd(), track_snr=True),
    "fixed radius": lambda: optimizers.RegretTracker(_sgd(), radius=2.0),
    "by weight": lambda: optimizers.RMSNormalized(_sgd()),
    "by unit": lambda: optimizers.RMSNormalized(_sgd(), granularity="unit"),
    "by layer": lambda: optimizers.RMSNormalized(_sgd(), granularity="layer"),
    "tracker of normalised": lambda: optimizers.RegretTracker(
        optimizers.RMSNormalized(_sgd(), granularity="unit")
    ),
    "normalised tracker": lambda: optimizers.RMSNormalized(optimizers.RegretTracker(_sgd())),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_every_wrapper_does_what_it_does_on_one_device(name, two_replicas):
    one, of_one = _apply(tf.distribute.get_strategy(), WRAPPERS[name])
    two, of_two = _apply(two_replicas, WRAPPERS[name])
    for first, second in zip(of_one, of_two, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)
    readings = _readings(two)
    for reading, value in _readings(one).items():
        np.testing.assert_allclose(value, readings[reading], rtol=1e-4, err_msg=reading)


def _refused(strategy, make, reason):
    with pytest.raises(ValueError, match="cannot train on 2 replicas") as refusal:
        _apply(strategy, make, rounds=1)
    assert reason in str(refusal.value)


def test_what_is_made_outside_of_the_scope_is_refused(two_replicas):
    outside, inner_outside = optimizers.RegretTracker(_sgd()), _sgd()
    reason = "was made outside of the strategy's scope"
    _refused(two_replicas, lambda: outside, reason)
    _refused(two_replicas, lambda: optimizers.RegretTracker(inner_outside), reason)


@pytest.mark.parametrize(
    ("wrap", "options", "reason"),
    [
        (
            lambda inner: optimizers.LossScaled(optimizers.RegretTracker(inner)),
            {},
            "on the first replica alone",
        ),
        *(
            (wrapper, {"gradient_accumulation_steps": 2}, "gradient_accumulation_steps=2")
            for wrapper in (optimizers.RegretTracker, optimizers.RMSNormalized)
        ),
        (
            optimizers.RegretTracker,
            {"use_ema": True, "ema_overwrite_frequency": 5},
            "ema_overwrite_frequency=5",
        ),
    ],
)
def test_what_keras_breaks_is_refused(wrap, options, reason, two_replicas):
    _refused(two_replicas, lambda: wrap(_sgd(**options)), reason)


def test_averages_that_are_not_written_back_are_fine(two_replicas):
    _apply(two_replicas, lambda: optimizers.RegretTracker(_sgd(use_ema=True)), rounds=1)


@pytest.fixture
def policy():
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


def test_mixed_precision_works_where_no_loss_is_scaled(policy, two_replicas):
    policy("mixed_float16")
    _refused(two_replicas, lambda: optimizers.RegretTracker(_sgd()), "mixed_bfloat16")
    policy("mixed_bfloat16")
    _apply(two_replicas, lambda: optimizers.RegretTracker(_sgd()), rounds=1)
