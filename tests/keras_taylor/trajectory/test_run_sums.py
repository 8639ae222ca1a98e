"""Tests of the sums over all rounds trained, beside a sample of them."""

import keras
import numpy as np
import pytest

from keras_taylor.trajectory.run_sums import RunSums, SumsOfStrata
from keras_taylor.weights.parts import Part
from keras_taylor.weights.scopes import Scopes

LOSSES = [3.0, 2.0, 4.0, 1.0, 0.5]
PARTS = ("network", "layer:net/a", "unit:net/a/1", "layer:net/b")


@pytest.fixture
def trained():
    """A model of two layers, and its weights in five rounds."""
    generator = np.random.default_rng(0)
    layers = [keras.layers.Dense(2, name="a"), keras.layers.Dense(1, name="b")]
    model = keras.Sequential([keras.Input((3,)), *layers], name="net")
    rounds = [[generator.normal(size=w.shape) for w in model.get_weights()] for _ in LOSSES]
    return model, rounds


def _run(sums, model, rounds, numbers):
    for number in numbers:
        model.set_weights(rounds[number - 1])
        if sums.first is None:
            sums.begin([v.numpy() for v in model.trainable_variables])
        sums.before()
        sums.after(number, LOSSES[number - 1])


def _check(path, model, rounds):
    scopes = Scopes(model.trainable_variables)
    found = SumsOfStrata(path, "run", [2, 5])
    assert found.ends == [2, 5]
    for end in found.ends:
        assert found.average_loss(end) == pytest.approx(np.mean(LOSSES[:end]))
        for part in (Part(scopes, name) for name in PARTS):
            vectors = [part.vector(weights) for weights in rounds[:end]]
            expected = max(np.linalg.norm(vector - vectors[0]) for vector in vectors)
            assert found.travelled(part, end) == pytest.approx(expected, rel=1e-6)


def test_losses_and_distances_are_of_all_rounds_up_to_an_end(trained, tmp_path):
    model, rounds = trained
    sums = RunSums(model.trainable_variables, [2, 5])
    _run(sums, model, rounds, [1])
    assert not sums.is_new
    _run(sums, model, rounds, [2, 3, 4, 5])
    assert sums.is_new
    sums.save(tmp_path, "run")
    assert not sums.is_new
    _check(tmp_path, model, rounds)
    assert SumsOfStrata(tmp_path, "run", [2]).ends == [2]


def test_a_run_that_goes_on_has_the_same_sums(trained, tmp_path):
    model, rounds = trained
    before = RunSums(model.trainable_variables, [2, 5])
    _run(before, model, rounds, [1, 2, 3])
    after = RunSums(model.trainable_variables, [2, 5])
    after.restore(before.first, before.state())
    _run(after, model, rounds, [4, 5])
    after.save(tmp_path, "run")
    _check(tmp_path, model, rounds)
