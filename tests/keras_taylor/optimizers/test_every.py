"""A tracker that has one round in k in its sums: which, what they mean, and training to the bit."""

import keras
import numpy as np
import pytest

import keras_taylor as kt

RegretTracker = kt.optimizers.RegretTracker
EVERY = 3


def _trained(training, optimizer, **options):
    model = training.compile(optimizer, **options)
    history = training.fit(model).history
    return model, history


@pytest.fixture(scope="module")
def run(make_training):
    """A tracker after twelve rounds, and the weights and gradients of rounds 1, 4, 7 and 10."""
    training = make_training()
    recorded = make_training.recorded(keras.optimizers.SGD(0.05))
    _trained(training, recorded, run_eagerly=True)
    tracker = RegretTracker(keras.optimizers.SGD(0.05), every=EVERY, track_snr=True)
    _trained(training, tracker)
    return tracker, recorded.kept


def test_sums_are_over_one_round_in_k(run, training):
    tracker, kept = run
    some = kept[::EVERY]
    assert int(tracker.steps) == len(some) == 4
    expected = training.linear_regret(some, training.flat)
    np.testing.assert_allclose(tracker.linear_regret(), expected, rtol=1e-4)
    first = training.flat(some[0][0])
    travelled = max(np.linalg.norm(training.flat(w) - first) for w, _ in some)
    np.testing.assert_allclose(tracker.distance_travelled(), travelled, rtol=1e-4)
    squares = sum(np.sum(training.flat(g) ** 2) for _, g in some)
    np.testing.assert_allclose(tracker.gradient_norm(), np.sqrt(squares / 4), rtol=1e-4)


def test_guarantee_and_step_ratio_are_estimates_for_all_rounds(run, training):
    tracker, kept = run
    some = kept[::EVERY]
    squares = sum(np.sum(training.flat(g) ** 2) for _, g in some)
    radius = float(tracker.distance_travelled())
    # k times it is R sqrt(sum over all rounds), if the others had the same squares.
    np.testing.assert_allclose(
        EVERY * tracker.guarantee(), radius * np.sqrt(EVERY * squares), rtol=1e-4
    )
    # SGD's updates are -0.05 times the gradients.
    updates = 0.05 * np.sqrt(EVERY * squares)
    np.testing.assert_allclose(tracker.step_ratio(), radius / updates, rtol=1e-3)
    total = sum(training.flat(g) for _, g in some)
    power = sum(training.flat(g) ** 2 for _, g in some)
    ratios = np.abs(total) / np.sqrt(4 * np.where(power > 0, power, 1.0))
    np.testing.assert_allclose(tracker.snr()[2], np.median(ratios), rtol=1e-3)
    np.testing.assert_allclose(tracker.snr(of="updates")[2], np.median(ratios), rtol=1e-2)


def test_the_lower_bound_is_one_of_the_optimum_over_these_rounds():
    """Least squares, whose Taylor losses are the losses themselves."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(10, 6, 3)).astype("float32")
    y = x @ generator.normal(size=3).astype("float32")
    weight = keras.Variable(np.zeros(3), name="w")
    tracker = RegretTracker(keras.optimizers.SGD(0.05), every=EVERY)
    losses = []
    for inputs, targets in zip(x, y, strict=True):
        error = inputs @ weight.numpy() - targets
        losses.append(np.mean(error**2))
        tracker.scale_loss(keras.ops.convert_to_tensor(losses[-1]))
        tracker.apply([2 / 6 * inputs.T @ error], [weight])
    np.testing.assert_allclose(tracker.average_loss, np.mean(losses[::EVERY]), rtol=1e-6)
    radius, bound = float(tracker.distance_travelled()), float(tracker.optimum_lower_bound())
    for share in np.linspace(0, 1, 5):
        comparator = np.linalg.lstsq(x.reshape(-1, 3), y.ravel(), rcond=None)[0]
        comparator *= share * radius / max(radius, np.linalg.norm(comparator))
        assert bound <= np.mean((x[::EVERY] @ comparator - y[::EVERY]) ** 2)


@pytest.mark.optimized_graphs
@pytest.mark.parametrize(
    ("build", "mode"),
    [
        (keras.optimizers.RMSprop, {}),
        (lambda: keras.optimizers.SGD(0.05), {"jit_compile": True}),
        (keras.optimizers.RMSprop, {"steps_per_execution": 4}),
    ],
)
def test_training_is_the_same_to_the_bit(training, build, mode):
    bare, _ = _trained(training, build(), **mode)
    tracked, _ = _trained(training, RegretTracker(build(), every=EVERY), **mode)
    for one, other in zip(bare.get_weights(), tracked.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def _apply(tracker, weight, gradients):
    for gradient in gradients:
        tracker.scale_loss(keras.ops.convert_to_tensor(1.0))
        tracker.apply([np.array([gradient, 1.0], "float32")], [weight])


def test_rounds_are_counted_on_when_it_is_saved_and_anew_when_tracking_starts():
    weight = keras.Variable([1.0, 1.0], name="w")
    tracker = RegretTracker(keras.optimizers.SGD(0.1), every=2)
    _apply(tracker, weight, [1.0])
    other = RegretTracker.from_config(tracker.get_config())
    other.build([weight])
    other.set_weights([v.numpy() for v in tracker.variables])
    _apply(other, weight, [1.0])
    assert (other.every, int(other.steps)) == (2, 1)
    other.start_tracking()
    _apply(other, weight, [5.0])
    assert float(other.gradient_norm("unit:w/0")) == pytest.approx(5.0)


def test_what_is_not_finite_is_left_out_under_the_number_of_its_round():
    weight = keras.Variable([1.0, 1.0], name="w")
    tracker = RegretTracker(keras.optimizers.SGD(0.0), every=2)
    _apply(tracker, weight, [1.0, 2.0, np.inf])
    assert (int(tracker.steps), int(tracker.skipped_steps)) == (1, 1)
    assert tracker.first_skipped() == {"round": 3, "layers": ["w"]}


@pytest.mark.parametrize("every", [0, -1, 2.5, True, "epoch"])
def test_what_is_no_number_of_rounds(every):
    with pytest.raises(ValueError, match="every must be a positive integer"):
        RegretTracker("sgd", every=every)


def test_there_is_no_advice_without_all_rounds():
    tracker = RegretTracker("sgd", every=2)
    with pytest.raises(ValueError, match="diagnose needs the sums over all rounds"):
        kt.diagnose(tracker)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(tracker, "mse")
    with pytest.raises(ValueError, match="every=2"):
        model.fit(np.ones((2, 2)), np.ones(2), verbose=0, callbacks=[kt.callbacks.Diagnose()])
