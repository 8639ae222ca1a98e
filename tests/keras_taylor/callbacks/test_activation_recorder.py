"""Tests of recording activation configurations in `fit`."""

import itertools

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.callbacks.activation_recorder import MEASURES
from keras_taylor.exploration import measures, snapshots

Recorder = kt.callbacks.ActivationRecorder


def _model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(6, "relu", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    model.compile(keras.optimizers.SGD(0.5), loss="mse")
    return model


X, Y = (np.random.default_rng(width).normal(size=(32, width)) for width in (4, 2))
PROBE = np.random.default_rng(10).normal(size=(10, 4))


def _fit(recorder, model=None, **options):
    options = {"epochs": 3, "batch_size": 8, "verbose": 0, "shuffle": False} | options
    return (model or _model()).fit(X, Y, callbacks=[recorder], **options)


def test_measures_are_logged_and_match_snapshots_taken_apart():
    recorder, apart = Recorder(PROBE), []

    class Apart(keras.callbacks.Callback):
        def take(self):
            apart.append(snapshots.Probe(self.model, PROBE).snapshot())

        def on_train_begin(self, logs=None):
            self.take()

        def on_epoch_end(self, epoch, logs=None):
            self.take()

    history = (
        _model().fit(X, Y, epochs=3, batch_size=8, verbose=0, callbacks=[Apart(), recorder]).history
    )
    assert set(MEASURES) < set(history)
    assert recorder.steps == [0, 4, 8, 12]
    moves = [measures.hamming_share(a, b) for a, b in itertools.pairwise(apart)]
    assert history["activation_hamming"] == pytest.approx(moves)
    nearest = [measures.nearest_share(s, apart[:n]) for n, s in enumerate(apart)][1:]
    assert history["nearest_hamming"] == pytest.approx(nearest)
    assert history["switches_per_unit"] == pytest.approx(np.cumsum(moves))
    seen = set()
    counts = [len(seen := seen | measures.digests(s)) for s in apart]
    assert history["distinct_configurations"] == counts[1:]
    frequency = measures.unit_frequency(apart[-1])
    assert history["dead_units"][-1] == measures.dead_share(frequency)


@pytest.mark.optimized_graphs
def test_recording_does_not_change_training():
    plain, watched = _model(), _model()
    plain.fit(X, Y, epochs=3, batch_size=8, verbose=0, shuffle=False)
    _fit(Recorder(PROBE, every=1), watched)
    for one, other in zip(plain.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_so_many_rounds():
    recorder = Recorder(PROBE, every=5)
    history = _fit(recorder).history
    assert recorder.steps == [0, 5, 10]
    assert len(history["activation_hamming"]) == 3
    assert np.isnan(history["activation_hamming"][0]), "one snapshot only has no distance"
    assert history["switches_per_unit"][0] == 0.0


def test_going_on_goes_on_counting():
    recorder, model = Recorder(PROBE), _model()
    _fit(recorder, model, epochs=1)
    _fit(recorder, model, epochs=1)
    assert recorder.steps == [0, 4, 8]


def test_another_model_needs_another_recorder():
    recorder = Recorder(PROBE)
    _fit(recorder, epochs=1)
    with pytest.raises(ValueError, match="make a new recorder for each model"):
        _fit(recorder, epochs=1)


def test_keeping_few_snapshots(tmp_path):
    recorder = Recorder(PROBE, max_snapshots=np.int64(2))
    _fit(recorder)
    assert len(recorder.snapshots) == 2
    recorder.to_npz(tmp_path / "bits.npz")
    with np.load(tmp_path / "bits.npz") as saved:
        assert saved["steps"].tolist() == [0, 4, 8, 12]
        assert saved["kept_steps"].tolist() == [8, 12]
        assert saved["bits/hidden"].shape == (2, 1, 10, 8)
        assert saved["shape/hidden"].tolist() == [6]
        np.testing.assert_array_equal(
            saved["bits/hidden"][1], recorder.snapshots[1].layers["hidden"].packed
        )
        assert saved["switches_per_unit"].tolist() == recorder.measures["switches_per_unit"]


def test_tensorboard_has_scalars_and_histograms(tmp_path, read_summaries):
    _fit(Recorder(PROBE, log_dir=tmp_path))
    assert set(read_summaries(tmp_path)) == {f"exploration/{name}" for name in MEASURES} | {
        "unit_frequency/hidden"
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_snapshots": 0}, "max_snapshots must be"),
        ({"max_snapshots": True}, "max_snapshots must be"),
        ({"max_snapshots": np.True_}, "max_snapshots must be"),
        ({"max_snapshots": 1.5}, "max_snapshots must be"),
        ({"every": True}, "every must be"),
        ({"probe_x": np.zeros((0, 4))}, "no examples"),
        ({"probe_x": np.zeros((3, 5))}, "takes"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        _fit(Recorder(**{"probe_x": PROBE} | options))


def test_a_model_without_rectifiers_is_told():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "tanh")])
    model.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match="no rectifier was found"):
        _fit(Recorder(PROBE), model)


def test_dead_units_are_told_by_layer_and_number():
    model, recorder = _model(), Recorder(PROBE)
    kernel, bias = model.get_layer("hidden").get_weights()
    bias[[1, 4]] = -100.0
    model.get_layer("hidden").set_weights([kernel, bias])
    _fit(recorder, model, epochs=1)
    outputs = keras.Model(model.input, model.get_layer("hidden").output)(PROBE)
    expected = np.flatnonzero((np.asarray(outputs) == 0).all(axis=0)).tolist()
    assert {1, 4} <= set(expected)
    assert recorder.dead_unit_numbers() == {"hidden": expected}
    assert recorder.measures["dead_units"][-1] == pytest.approx(len(expected) / 6)


def test_signs_of_smooth_units_are_recorded_if_asked_to():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "gelu", name="smooth")])
    model.compile(keras.optimizers.SGD(0.5), loss="mse")
    with pytest.raises(ValueError, match=r"smooth=True"):
        _fit(Recorder(PROBE), model)
    recorder = Recorder(PROBE, smooth=True)
    history = _fit(recorder, model, epochs=1).history
    signs = np.asarray(model(PROBE)) > 0
    frequency = measures.unit_frequency(recorder.snapshots[-1], "smooth")["smooth"]
    np.testing.assert_allclose(frequency, signs.mean(axis=0))
    assert 0 <= history["activation_hamming"][0] <= 1
    # They have a gradient on both sides.
    assert np.isnan(history["dead_units"][0])
    assert recorder.dead_unit_numbers() == {}
