"""Tests of what the recorder writes of a training, checks at its first round and at resuming."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt
from keras_taylor.trajectory.recorder import Recorder
from keras_taylor.trajectory.selection import Selection

BATCH = 8


def _model(*layers, loss="mse"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), *layers, keras.layers.Dense(3, name="out")])
    model.compile(keras.optimizers.SGD(0.05), loss=loss)
    return model


def _batch():
    generator = np.random.default_rng(0)
    return generator.normal(size=(BATCH, 5)).astype("float32"), np.ones((BATCH, 3), "float32")


def _record(path, model, **options):
    options = {"steps": 12, "sample": 8, "verbose": 0} | options
    return kt.record(model, [_batch()] * 12, path, **options)


@pytest.fixture
def recorder(path):
    """A recorder of every other of six rounds from the second on, and its model."""
    path.mkdir()
    model = _model()
    selection = Selection.of(steps=6, start=1, every=2, sample=None, examples=None)
    return Recorder(model, path, selection, "float32"), model


def _loss(model):
    """The mean squared error of the batch, by NumPy."""
    x, y = _batch()
    kernel, bias = model.get_weights()
    return float(np.mean((x @ kernel + bias - y) ** 2))


def test_rounds_of_the_selection_are_written_with_the_weights_before_the_update(recorder, path):
    recorder, model = recorder
    kept = {}
    for number in range(1, 7):
        fields = recorder.before(number, *_batch(), None)
        loss = _loss(model)
        if fields is not None:
            kept[number] = model.get_weights(), loss
        model.set_weights([weight + 0.1 for weight in model.get_weights()])
        recorder.after(number, fields, loss)
    recorder.close()
    found = {round.number: round for round in kt.Trajectory(path)}
    assert list(found) == list(kept) == [2, 4, 6]
    for number, (weights, loss) in kept.items():
        assert found[number].loss == loss
        for one, other in zip(found[number].weights, weights, strict=True):
            np.testing.assert_array_equal(one, other)


def test_there_is_no_recording_before_its_first_round_is_whole(recorder, path):
    recorder, model = recorder
    assert recorder.before(1, *_batch(), None) is None
    recorder.after(1, None, 1.0)
    fields = recorder.before(2, *_batch(), None)
    # What it takes to begin again is there, a manifest is not.
    assert [file.name for file in path.iterdir()] == ["checkpoint.npz"]
    recorder.after(2, fields, _loss(model))
    recorder.close()
    assert (path / "manifest.json").exists()


def test_a_loss_that_is_not_that_of_the_first_round_is_refused(recorder, path):
    recorder, model = recorder
    fields, loss = recorder.before(2, *_batch(), None), _loss(model) * 1.1
    with pytest.raises(ValueError, match=f"replaying the first round gives .* had {loss}"):
        recorder.after(2, fields, loss)
    assert not (path / "manifest.json").exists()


def test_manifest_is_json_with_the_layout(run, recorded):
    manifest = json.loads((recorded[0].path / "manifest.json").read_text())
    assert manifest["seed"] == 0
    assert manifest["loss"]["class_name"] == "SparseCategoricalCrossentropy"
    assert set(manifest["versions"]) == {"keras", "keras_taylor"}
    assert manifest["first"] == run.first + 1
    assert manifest["layout"]["items"]["x"]["shape"] == [None, 5]


def test_forward_pass_that_is_no_function_of_the_weights_is_refused(run, path):
    class Noise(keras.layers.Layer):
        def call(self, x):
            return x + tf.random.normal(tf.shape(x))

    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(3)(Noise()(inputs)))
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="is wrong|something else than the model.s variables"):
        kt.record(model, run.batches(), path, steps=run.steps, verbose=0)


def test_weights_that_are_not_finite_are_told(run, path):
    model = run.model()
    weights = model.get_weights()
    weights[0] = np.full_like(weights[0], np.nan)
    model.set_weights(weights)
    with pytest.raises(ValueError, match="not finite at round 5.*diverged"):
        run.record(path, model)


def test_more_examples_than_a_batch_has_takes_all(path):
    with pytest.warns(UserWarning, match="examples=20: the first batch has 8, all are kept"):
        trajectory = _record(path, _model(), examples=20)
    assert {len(round.x) for round in trajectory} == {BATCH}


@pytest.mark.parametrize(
    "layer", [keras.layers.BatchNormalization, lambda: keras.layers.Dropout(0.5)]
)
def test_examples_of_models_that_treat_them_together_are_refused(path, layer):
    with pytest.raises(ValueError, match="outputs of these examples are others without the rest"):
        _record(path, _model(layer()), examples=3)


def test_examples_under_a_loss_that_is_a_sum_are_refused(path):
    loss = keras.losses.MeanSquaredError(reduction="sum")
    with pytest.raises(ValueError, match="the loss has the reduction .*sum"):
        _record(path, _model(loss=loss), examples=3)


def test_resuming_another_recording_is_refused(run, copied):
    path = copied
    for options in ({"every": 2}, {"start": 3}, {"keep": "float32"}):
        with pytest.raises(ValueError, match="holds a recording with"):
            run.record(path, resume=True, **options)
    model = run.model()
    cross_entropy, adam = model.loss, keras.optimizers.Adam
    for optimizer, loss, message in (
        ("sgd", cross_entropy, "optimizer.class_name was 'Adam', now it is 'SGD'"),
        (adam(beta_1=0.8), cross_entropy, r"optimizer.config.beta_1 was 0.9, now it is 0.8"),
        (adam(), "sparse_categorical_crossentropy", r"from_logits was True, now it is False"),
    ):
        model.compile(optimizer, loss=loss)
        with pytest.raises(ValueError, match=f"another model or optimizer: .*{message}"):
            run.record(path, model, resume=True)
    (path / "rounds-00000.tfrecord").write_bytes(b"")
    with pytest.raises(ValueError, match=r"rounds-00000.tfrecord is truncated"):
        run.record(path, resume=True)
    (path / "checkpoint.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"checkpoint.npz cannot be read"):
        run.record(path, resume=True)


def test_another_seed_is_said(run, copied):
    model = run.model()
    keras.utils.set_random_seed(1)
    with pytest.warns(UserWarning, match="recorded with seed 0, now it is 1"):
        run.record(copied, model, resume=True)
