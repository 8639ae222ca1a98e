"""Random weights, optimizers and orders of steps, copies and new starts, against sums in NumPy."""

import copy

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies

from keras_taylor.optimizers import RegretTracker

pytestmark = pytest.mark.slow
EXAMPLES = 300
SHAPES = strategies.lists(
    strategies.lists(strategies.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=4
)
ACTIONS = strategies.lists(
    strategies.sampled_from(["step", "step", "step", "skip", "save", "copy", "start"]),
    min_size=4,
    max_size=20,
)
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.1),
}
NAMES = strategies.sampled_from(list(OPTIMIZERS))


class Reference:
    """What the tracker sums, from all rounds since it started."""

    def __init__(self):
        self.start()

    def start(self):
        self.first, self.rounds, self.skipped = None, [], 0

    def add(self, weights, gradients, loss):
        if self.first is None:
            self.first = weights
        if np.isfinite(loss):
            self.rounds.append((weights - self.first, gradients, loss))
        else:
            self.skipped += 1

    def values(self):
        moves, gradients, losses = (np.array(each) for each in zip(*self.rounds, strict=True))
        radius = np.linalg.norm(moves, axis=1).max()
        bound = radius * np.linalg.norm(gradients.sum(axis=0))
        return {
            "linear_regret": (gradients * moves).sum() + bound,
            "guarantee": radius * np.sqrt((gradients**2).sum()),
            "distance_travelled": radius,
            "average_loss": losses.mean(),
        }


def _flat(arrays):
    return np.concatenate([np.asarray(array).ravel() for array in arrays])


def _again(tracker, variables):
    """Returns a tracker that was made from the configuration and the saved state of another."""
    again = RegretTracker.from_config(tracker.get_config())
    again.build(variables)
    again.set_weights([variable.numpy() for variable in tracker.variables])
    return again


def _play(shapes, name, actions, generator):
    """Yields the tracker and the reference after each action."""
    variables = [
        keras.Variable(generator.normal(size=shape), name=f"w{number}", dtype="float64")
        for number, shape in enumerate(shapes)
    ]
    tracker, reference = RegretTracker(OPTIMIZERS[name]()), Reference()
    tracker.build(variables)
    for action in actions:
        if action in ("step", "skip"):
            loss = np.nan if action == "skip" else generator.normal()
            gradients = [generator.normal(size=variable.shape) for variable in variables]
            reference.add(_flat(variables), _flat(gradients), loss)
            tracker.scale_loss(keras.ops.convert_to_tensor(loss, "float64"))
            tracker.apply(gradients, variables)
        elif action == "start":
            tracker.start_tracking()
            reference.start()
        else:
            tracker = _again(tracker, variables) if action == "save" else copy.deepcopy(tracker)
        yield tracker, reference


def test_any_order_of_actions_keeps_the_sums(count, record_property):
    seen = {"checked": 0}

    @hypothesis.settings(max_examples=count(EXAMPLES), deadline=None, database=None)
    @hypothesis.seed(0)
    @hypothesis.given(
        SHAPES, strategies.sampled_from(list(OPTIMIZERS)), ACTIONS, strategies.integers(0, 99)
    )
    def play(shapes, name, actions, seed):
        for tracker, reference in _play(shapes, name, actions, np.random.default_rng(seed)):
            assert int(tracker.steps) == len(reference.rounds)
            assert int(tracker.skipped_steps) == reference.skipped
            if not reference.rounds:
                continue
            for quantity, expected in reference.values().items():
                found = getattr(tracker, quantity)
                found = float(found if quantity == "average_loss" else found())
                assert found == pytest.approx(expected, rel=1e-9, abs=1e-11), quantity
            seen["checked"] += 1

    play()
    record_property("runs", count(EXAMPLES))
    record_property("states that were checked", seen["checked"])
    record_property("different", 0)
