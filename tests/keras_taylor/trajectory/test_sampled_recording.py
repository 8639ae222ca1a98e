"""Tests of recordings that keep a sample of the rounds, and of what they know of the others."""

import json
import shutil

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.trajectory import sealed
from keras_taylor.weights.parts import Part
from keras_taylor.weights.scopes import Scopes

STEPS, START, BATCH = 70, 6, 8


def _model(*layers, loss="mse", **options):
    keras.utils.set_random_seed(0)
    layers = layers or (keras.layers.Dense(4, "relu", name="hidden"),)
    layers = [keras.Input((5,)), *layers, keras.layers.Dense(3, name="out")]
    model = keras.Sequential(layers, name="net")
    model.compile(keras.optimizers.SGD(0.05, momentum=0.5), loss=loss, **options)
    return model


def _batches():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(STEPS, BATCH, 5)).astype("float32")
    return list(zip(x, np.tanh(x[..., :3] * 2), strict=True))


def _record(path, model=None, **options):
    options = {"steps": STEPS, "start": START, "sample": 30, "verbose": 0} | options
    return kt.record(model or _model(), _batches(), path, **options)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return _record(tmp_path_factory.mktemp("full") / "run", sample=None)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    model = _model()
    return _record(tmp_path_factory.mktemp("sampled") / "run", model), model


def test_rounds_kept_are_those_of_the_run(full, sampled):
    assert sampled[0].is_sampled
    assert not full.is_sampled
    by_number, rounds = {round.number: round for round in full}, list(sampled[0])
    assert len(rounds) == len(sampled[0]) == 30
    for round in rounds:
        whole = by_number[round.number]
        for one, other in zip(round.weights, whole.weights, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(round.x, whole.x)
        assert round.loss == whole.loss
        assert (whole.weight, whole.is_check) == (1.0, False)
    fit = [round.weight for round in rounds if not round.is_check]
    assert sum(fit) == pytest.approx(STEPS - START)
    assert any(round.is_check for round in rounds)


def test_loss_and_distances_are_those_of_all_rounds(full, sampled):
    trajectory, model = sampled
    rounds, sums, scopes = list(full), trajectory.sums, Scopes(model.trainable_variables)
    assert sums.ends[-1] == STEPS - START
    for array, first in zip(trajectory.first_weights, rounds[0].weights, strict=True):
        np.testing.assert_array_equal(array, first)
    for end in sums.ends:
        losses = [round.loss for round in rounds[:end]]
        assert sums.average_loss(end) == pytest.approx(np.mean(losses), rel=1e-12)
        for name in ("network", "layer:net/hidden", "unit:net/out/2"):
            part = Part(scopes, name)
            moved = [part.vector(r.weights) - part.vector(rounds[0].weights) for r in rounds[:end]]
            expected = max(map(np.linalg.norm, moved))
            assert sums.travelled(part, end) == pytest.approx(expected, rel=1e-6)


def test_training_is_the_same_with_and_without_a_sample(sampled):
    plain = _model()
    for x, y in _batches():
        plain.train_on_batch(x, y)
    for one, other in zip(sampled[1].get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_some_examples_of_each_round(full, tmp_path):
    trajectory = _record(tmp_path / "run", examples=3)
    by_number = {round.number: round for round in full}
    for round in trajectory:
        whole = by_number[round.number]
        assert round.loss == whole.loss
        assert len(round.x) == len(round.y) == 3
        places = [int(np.flatnonzero((whole.x == x).all(1))[0]) for x in round.x]
        assert sorted(set(places)) == places
        np.testing.assert_array_equal(round.y, whole.y[places])


class _StopAt(keras.callbacks.Callback):
    def __init__(self, number):
        self._number = number

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self._number:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [20, 41, 69])
def test_a_killed_run_goes_on_with_the_same_sample(sampled, tmp_path, monkeypatch, stop):
    monkeypatch.setattr("keras_taylor.trajectory.storage.SHARD_ROUNDS", 4)
    with pytest.raises(KeyboardInterrupt):
        _record(tmp_path / "run", callbacks=[_StopAt(stop)])
    # Another seed now does not change the sample.
    model = _model()
    keras.utils.set_random_seed(5)
    trajectory = _record(tmp_path / "run", model, resume=True)
    for one, other in zip(trajectory, sampled[0], strict=True):
        assert (one.number, one.weight, one.is_check) == (
            other.number,
            other.weight,
            other.is_check,
        )
        np.testing.assert_array_equal(one.weights[0], other.weights[0])
    for end in sampled[0].sums.ends:
        expected = sampled[0].sums.average_loss(end)
        assert trajectory.sums.average_loss(end) == pytest.approx(expected, rel=1e-12)
    assert trajectory.sums.ends == sampled[0].sums.ends


def test_strata_whose_rounds_are_not_there_do_not_count(sampled, tmp_path):
    """A run that goes on from a checkpoint may be killed before it is as far as its sums."""
    path = shutil.copytree(sampled[0].path, tmp_path / "run")
    progress = sealed.read_json(path / "progress.json") | {"shards": [20]}
    sealed.write_json(path / "progress.json", progress)
    trajectory, whole = kt.Trajectory(path), sampled[0].sums
    found = trajectory.sums
    assert len(list(trajectory)) == 20
    assert found.ends == whole.ends[: len(found.ends)]
    assert 0 < len(found.ends) < len(whole.ends)
    assert found.average_loss(found.ends[-1]) == whole.average_loss(found.ends[-1])


def test_sums_that_are_damaged_are_told_and_mended_from_the_checkpoint(sampled, tmp_path):
    path = shutil.copytree(sampled[0].path, tmp_path / "run")
    (path / "sums.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"sums.npz"):
        assert kt.Trajectory(path).sums
    trajectory = _record(path, resume=True)
    assert trajectory.sums.ends == sampled[0].sums.ends


def test_a_sample_is_of_a_run_of_that_length(sampled, tmp_path):
    path = shutil.copytree(sampled[0].path, tmp_path / "run")
    with pytest.raises(ValueError, match="holds a recording with .*'steps': 70.*asked for.*80"):
        _record(path, steps=80, resume=True)


def test_the_seed_is_in_the_manifest(sampled):
    manifest = json.loads((sampled[0].path / "manifest.json").read_text())
    assert manifest["sample"] == {"steps": STEPS, "size": 30, "examples": None, "seed": 0}


def test_more_than_there_is_takes_all_and_says_so(tmp_path):
    with pytest.warns(UserWarning, match="sample=100: the run has 64 rounds, all are kept"):
        trajectory = _record(tmp_path / "run", sample=100)
    assert len(trajectory) == STEPS - START
    assert not trajectory.is_sampled


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample": 0}, "sample must be a positive integer or None, received 0"),
        ({"sample": 2.5}, "sample must be a positive integer or None, received 2.5"),
        ({"examples": -1}, "examples must be a positive integer or None, received -1"),
        ({"sample": 3}, "3 of 64 rounds are too few for a sample: expected at least 4"),
        ({"every": 2}, "every=2 keeps rounds at a fixed distance, and sample=30"),
        ({"keep": "float8"}, "unknown keep='float8'"),
        ({"steps": 8, "sample": None, "examples": 2}, "2 of 2 rounds are too few"),
    ],
)
def test_what_cannot_be_sampled(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        _record(tmp_path / "run", **options)


def test_a_run_that_stopped_within_its_first_stratum_has_no_optimum(tmp_path):
    options = {"steps": 70, "start": 0, "sample": 8, "callbacks": [_StopAt(40)]}
    with pytest.raises(KeyboardInterrupt):
        _record(tmp_path / "run", **options)
    trajectory = kt.Trajectory(tmp_path / "run")
    assert 0 < len(trajectory) < 8
    first = trajectory.selection.strata[0].last
    if first >= 40:
        with pytest.raises(ValueError, match="ends before its first stratum does"):
            kt.taylor_optimum(trajectory, _model(), verbose=0)
    else:
        found = kt.taylor_optimum(trajectory, _model(), "layer:net/out", verbose=0)
        assert found.average_loss == pytest.approx(trajectory.sums.average_loss(first), rel=1e-9)
