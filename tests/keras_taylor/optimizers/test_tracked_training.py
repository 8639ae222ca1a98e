"""Tests that training under a tracker is training without, to the bit."""

import keras
import numpy as np
import pytest

import keras_taylor as kt

pytestmark = pytest.mark.optimized_graphs

RegretTracker = kt.optimizers.RegretTracker

OPTIMIZERS = {
    "sgd": lambda **options: keras.optimizers.SGD(0.05, **options),
    "momentum": lambda **options: keras.optimizers.SGD(0.05, momentum=0.9, **options),
    "rmsprop": lambda **options: keras.optimizers.RMSprop(0.01, **options),
    "adam": lambda **options: keras.optimizers.Adam(0.01, **options),
    "adamw": lambda **options: keras.optimizers.AdamW(0.01, **options),
    "adagrad": lambda **options: keras.optimizers.Adagrad(0.05, **options),
    "lion": lambda **options: keras.optimizers.Lion(0.01, **options),
}
# Each option once, together with those that it goes with.
OPTIONS = [
    {"clipnorm": 0.1, "weight_decay": 0.1},
    {"clipvalue": 0.01, "use_ema": True},
    {"global_clipnorm": 0.1, "use_ema": True, "ema_overwrite_frequency": 2},
    {"gradient_accumulation_steps": 3},
    {"loss_scale_factor": 64.0, "weight_decay": 0.1},
]
MODES = [{}, {"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 4}]


def _weights(training, optimizer, dtype=None, callbacks=(), **options):
    model = training.compile(optimizer, training.model(dtype), **options)
    training.fit(model, callbacks=list(callbacks))
    return model.get_weights()


def _assert_same(training, build, dtype=None, callbacks=lambda: (), **options):
    bare = _weights(training, build(), dtype, callbacks(), **options)
    tracker = RegretTracker(build())
    tracked = _weights(training, tracker, dtype, callbacks(), **options)
    for one, other in zip(bare, tracked, strict=True):
        np.testing.assert_array_equal(one, other)
    return tracker


def _cached(function):
    cache = {}

    def cached(*key):
        if str(key) not in cache:
            cache[str(key)] = function(*key)
        return cache[str(key)]

    return cached


@pytest.fixture(scope="module")
def bare(make_training):
    """Weights after training without a tracker, by name of the optimizer and mode."""
    return _cached(lambda name, mode: _weights(make_training(), OPTIMIZERS[name](), **mode))


@pytest.fixture(scope="module")
def reference(make_training):
    """Linear regret in float64 NumPy, by name of the optimizer."""

    def regret(name):
        training, inner = make_training(), make_training.recorded(OPTIMIZERS[name]())
        _weights(training, inner, run_eagerly=True)
        return training.linear_regret(inner.kept, training.flat)

    return _cached(regret)


# Each optimizer in a graph, each mode with optimizers that keep different state; all with -m slow.
PAIRS = [
    *((name, {}) for name in OPTIMIZERS),
    ("adam", {"jit_compile": True}),
    ("momentum", {"run_eagerly": True}),
    ("adamw", {"steps_per_execution": 4}),
]
REST = [(n, mode) for n in OPTIMIZERS for mode in MODES if (n, mode) not in PAIRS]


@pytest.mark.parametrize(
    ("name", "mode"),
    [*PAIRS, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in REST)],
    ids=str,
)
def test_training_is_the_same_to_the_bit(training, bare, reference, name, mode):
    tracker = RegretTracker(OPTIMIZERS[name]())
    for one, other in zip(bare(name, mode), _weights(training, tracker, **mode), strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(tracker.steps) == 12
    if "jit_compile" not in mode:  # XLA draws other dropout masks
        np.testing.assert_allclose(tracker.linear_regret(), reference(name), rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "options"),
    [(("momentum", "adam")[number % 2], options) for number, options in enumerate(OPTIONS)],
    ids=str,
)
def test_training_is_the_same_with_every_option(training, name, options):
    tracker = _assert_same(training, lambda: OPTIMIZERS[name](**options))
    assert int(tracker.steps) == 12


@pytest.fixture
def mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("mode", [{}, {"run_eagerly": True}], ids=str)
@pytest.mark.usefixtures("mixed_precision")
def test_mixed_precision_under_a_loss_scale(training, mode):
    with pytest.warns(UserWarning, match="was not given the loss"):
        tracker = _assert_same(training, OPTIMIZERS["adam"], **mode)
    assert int(tracker.steps) == 12
    inner = training.recorded(OPTIMIZERS["adam"]())
    # Around it, `compile` puts the same LossScaleOptimizer, which takes the scale off.
    _weights(training, inner, run_eagerly=True)
    expected = training.linear_regret(inner.kept, training.flat)
    np.testing.assert_allclose(tracker.linear_regret(), expected, rtol=1e-3)
    assert np.isnan(tracker.average_loss)
    assert np.isnan(tracker.optimum_lower_bound())


def test_loss_scale_factor_does_not_change_the_sums(training):
    values = []
    for factor in (None, 1024.0):
        tracker = RegretTracker(keras.optimizers.SGD(0.05, loss_scale_factor=factor))
        _weights(training, tracker)
        values.append([tracker.linear_regret(), tracker.average_loss])
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5)


def test_schedules_and_plateaus_act_on_the_inner_optimizer(training):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    _assert_same(training, lambda: keras.optimizers.SGD(schedule))

    def plateau():
        return [keras.callbacks.ReduceLROnPlateau("loss", 0.1, patience=0, min_delta=100)]

    tracker = _assert_same(training, OPTIMIZERS["sgd"], callbacks=plateau)
    assert float(tracker.inner_optimizer.learning_rate) == pytest.approx(0.005)


@pytest.mark.optimizer_built_in_fit
def test_swapping_in_averaged_weights_works(training):
    def swap():
        return [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]

    _assert_same(training, lambda: keras.optimizers.SGD(0.1, use_ema=True), callbacks=swap)


def test_training_goes_on_as_it_would_after_a_non_finite_gradient(training):
    training.x[20] = np.inf
    tracker = _assert_same(training, OPTIMIZERS["sgd"])
    assert int(tracker.skipped_steps) == 11


@pytest.mark.parametrize(
    ("name", "mode"),
    [("sgd", {}), pytest.param("rmsprop", {"jit_compile": True}, marks=pytest.mark.slow)],
)
def test_training_is_the_same_to_the_bit_with_signal_to_noise(
    training, bare, reference, name, mode
):
    tracker = RegretTracker(OPTIMIZERS[name](), track_snr=True)
    for one, other in zip(bare(name, mode), _weights(training, tracker, **mode), strict=True):
        np.testing.assert_array_equal(one, other)
    if "jit_compile" not in mode:  # XLA draws other dropout masks
        np.testing.assert_allclose(tracker.linear_regret(), reference(name), rtol=1e-3)
