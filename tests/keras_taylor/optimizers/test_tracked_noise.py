"""Tests of the signal-to-noise ratio that a tracker keeps."""

import itertools

import keras
import numpy as np
import pytest

import keras_taylor as kt

RegretTracker = kt.optimizers.RegretTracker


def _flat(arrays):
    return np.concatenate([np.ravel(array) for array in arrays])


@pytest.mark.parametrize("of", ["gradients", "updates"])
def test_signal_to_noise_equals_a_replay_in_numpy(training, of):
    inner = training.replay(0.1)
    tracker = RegretTracker(inner, track_snr=True)
    model = training.compile(tracker, run_eagerly=True)
    training.fit(model)
    weights = [w for w, _ in inner.kept] + [[v.numpy() for v in model.trainable_variables]]
    rounds = [g for _, g in inner.kept]
    if of == "updates":
        pairs = itertools.pairwise(weights)
        rounds = [[b - a for a, b in zip(*pair, strict=True)] for pair in pairs]
    ratios = [
        np.abs(np.sum(values, 0)) / np.sqrt(len(values) * np.sum(np.square(values), 0))
        for values in (np.array(value, float) for value in zip(*rounds, strict=True))
    ]
    quantiles = (0.05, 0.25, 0.5, 0.75, 0.95)
    tolerance = {"rtol": 1e-3, "atol": 1e-4}
    np.testing.assert_allclose(
        tracker.snr(of=of), np.quantile(_flat(ratios), quantiles), **tolerance
    )
    by_layer, by_unit = tracker.snr("layers", of), tracker.snr("units", of)
    for number, layer in enumerate(("hidden", "normalization", "logits")):
        kernel, bias = ratios[2 * number : 2 * number + 2]
        expected = np.quantile(_flat([kernel, bias]), quantiles)
        np.testing.assert_allclose(by_layer[layer], expected, **tolerance)
        matrix = np.vstack([kernel.reshape(-1, len(bias)), bias])
        np.testing.assert_allclose(
            by_unit[layer], np.quantile(matrix, quantiles, axis=0).T, **tolerance
        )


def test_signal_to_noise_leaves_out_what_the_sums_leave_out(training):
    tracker = RegretTracker(keras.optimizers.SGD(0.1), track_snr=True)
    kernel = keras.Variable(np.zeros((2, 2), "float32"), name="kernel")
    for gradient in (1.0, np.nan, 1.0):
        tracker.apply([np.full((2, 2), gradient, "float32") * [[1.0, 0.0], [1.0, -1.0]]], [kernel])
    expected = [[1.0] * 5, [0.05, 0.25, 0.5, 0.75, 0.95]]
    np.testing.assert_allclose(tracker.snr("units")["kernel"], expected, rtol=1e-5)
    tracker.start_tracking()
    tracker.apply([np.zeros((2, 2), "float32")], [kernel])
    np.testing.assert_array_equal(tracker.snr(), np.zeros(5))


def test_signal_to_noise_is_saved(training, tmp_path):
    model = training.compile(RegretTracker(keras.optimizers.Adam(0.01), track_snr=True))
    training.fit(model)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.optimizer.snr(of="updates"), model.optimizer.snr(of="updates")
    )


def test_signal_to_noise_that_is_not_kept(training):
    tracker = RegretTracker(keras.optimizers.SGD(0.1))
    training.fit(training.compile(tracker))
    with pytest.raises(ValueError, match="track_snr=True"):
        tracker.snr()
    kept = RegretTracker(keras.optimizers.SGD(0.1), track_snr=True)
    with pytest.raises(ValueError, match="not built"):
        kept.snr()
    training.fit(training.compile(kept))
    with pytest.raises(ValueError, match="unknown kind 'steps'"):
        kept.snr(of="steps")
    with pytest.raises(ValueError, match="unknown scope"):
        kept.snr("hidden")
