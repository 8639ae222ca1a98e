"""Tests of the step ratio."""

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.optimizers.wrapper import momentum_of
from keras_taylor.tracking.step_ratio import step_ratio


def test_steps_along_a_line_and_steps_that_undo_each_other():
    rounds = 16
    along = step_ratio(np.array(rounds - 1.0), np.array(float(rounds)))
    assert float(along) == pytest.approx((rounds - 1) / 4)
    back = step_ratio(np.array(1.0), np.array(float(rounds)))
    assert float(back) == pytest.approx(0.25)
    assert np.isnan(step_ratio(np.array(0.0), np.array(0.0)))


def test_a_random_walk_with_momentum_has_the_ratio_of_one_without():
    """The root mean square over walks of the distance after many steps."""
    generator, walks, rounds = np.random.default_rng(0), 400, 2000
    for momentum in (0.0, 0.9):
        step, place, squares = (np.zeros(walks) for _ in range(3))
        for noise in generator.normal(size=(rounds, walks)):
            step = momentum * step + noise
            place, squares = place + step, squares + step**2
        ratios = step_ratio(np.abs(place), squares, momentum)
        assert np.sqrt(np.mean(np.square(ratios))) == pytest.approx(1.0, rel=0.12)


@pytest.mark.parametrize(
    ("optimizer", "momentum"),
    [
        (keras.optimizers.SGD(0.1), 0.0),
        (keras.optimizers.SGD(0.1, momentum=0.8), 0.8),
        (keras.optimizers.RMSprop(momentum=0.5), 0.5),
        (keras.optimizers.Adam(beta_1=0.7), 0.7),
        (keras.optimizers.Lion(), 0.9),
        (keras.optimizers.Adagrad(), 0.0),
        (kt.optimizers.RMSNormalized(keras.optimizers.SGD(0.1, momentum=0.6)), 0.6),
    ],
)
def test_momentum_is_that_of_the_innermost_optimizer(optimizer, momentum):
    assert momentum_of(kt.optimizers.RegretTracker(optimizer)) == momentum


@pytest.mark.parametrize("given", [None, 0.5])
@pytest.mark.parametrize("mode", [{}, {"jit_compile": True}, {"run_eagerly": True}], ids=str)
def test_ratio_of_a_tracker(mode, given):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="a")], name="net")
    inner = keras.optimizers.SGD(0.05, momentum=0.9)
    tracker = kt.optimizers.RegretTracker(inner, momentum=given)
    model.compile(tracker, loss="mse", **mode)
    generator = np.random.default_rng(0)
    kept = []
    for _ in range(7):
        kept.append([w.astype("float64") for w in model.get_weights()])
        model.train_on_batch(generator.normal(size=(4, 3)), generator.normal(size=(4, 2)))
    kept.append(model.get_weights())
    units = np.array([np.vstack(weights) for weights in kept])
    distance = np.sqrt(np.square(units[:-1] - units[0]).sum(1).max(0))
    length = np.sqrt(np.square(np.diff(units, axis=0)).sum((0, 1)))
    momentum = 0.9 if given is None else given
    expected = distance / length / np.sqrt((1 + momentum) / (1 - momentum))
    np.testing.assert_allclose(tracker.step_ratio("units")["net/a"], expected, rtol=1e-4)


def test_rounds_that_are_skipped_have_no_update():
    weight = keras.Variable([1.0, 1.0], name="w")
    tracker = kt.optimizers.RegretTracker(keras.optimizers.SGD(1.0))
    for gradient in ([3.0, -4.0], [3.0, -4.0]):
        tracker.apply([np.array(gradient, "float32")], [weight])
    before = float(tracker.step_ratio())
    weight.assign([0.0, 0.0])
    tracker.apply([np.array([np.nan, 1.0], "float32")], [weight])
    assert float(tracker.step_ratio()) == before


def test_bad_input():
    for momentum in (1.0, -0.1, True, "0.9"):
        with pytest.raises(ValueError, match="momentum must be from 0 up to but not 1"):
            kt.optimizers.RegretTracker("sgd", momentum=momentum)
    tracker = kt.optimizers.RegretTracker("sgd", track_step_ratio=False)
    with pytest.raises(ValueError, match="needs a RegretTracker with track_step_ratio=True"):
        kt.metrics.StepRatio(tracker)
    tracker.build([keras.Variable([1.0], name="w")])
    with pytest.raises(ValueError, match="make it with track_step_ratio=True"):
        tracker.step_ratio()
