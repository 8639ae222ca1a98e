"""Tests of copies of wrapped optimizers: by deepcopy, pickle, configuration and .h5 files."""

import copy
import pickle

import keras
import numpy as np
import pytest

import keras_taylor as kt

WRAPPERS = {
    "tracker": kt.optimizers.RegretTracker,
    "rms": kt.optimizers.RMSNormalized,
    "both": lambda inner: kt.optimizers.RegretTracker(
        kt.optimizers.RMSNormalized(inner), track_snr=True
    ),
}
X = np.random.default_rng(0).normal(size=(16, 200)).astype("float32")


@pytest.fixture(scope="module", params=WRAPPERS)
def trained(request):
    """A model of large matrices, which the tracker keeps apart, after two steps."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(200), keras.layers.Dense(100), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((200,)), *layers])
    loss = keras.losses.MeanSquaredError()
    optimizer = WRAPPERS[request.param](keras.optimizers.Adam(0.01))
    model.compile(optimizer, loss=loss, run_eagerly=True)
    model.fit(X, X[:, :2], batch_size=8, verbose=0)
    return model


def _assert_same(one, other):
    for a, b in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_deep_copy_has_the_state_and_goes_its_own_way(trained):
    optimizer = trained.optimizer
    copied = copy.deepcopy(optimizer)
    assert type(copied) is type(optimizer)
    _assert_same(copied, optimizer)
    assert not {id(v) for v in copied.variables} & {id(v) for v in optimizer.variables}
    before = [v.numpy() for v in optimizer.variables]
    weights = trained.get_weights()
    copied.apply([np.ones(v.shape, "float32") for v in trained.trainable_variables])
    assert int(copied.iterations) == int(optimizer.iterations) + 1
    for one, other in zip(optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(one, other)
    trained.set_weights(weights)


def test_unbuilt_optimizers_are_copied_and_pickled_by_their_configuration():
    for make in WRAPPERS.values():
        optimizer = make(keras.optimizers.Adam(0.25))
        for again in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            assert again.get_config() == optimizer.get_config()
            assert not again.built


def test_a_built_optimizer_is_not_pickled_and_says_why(trained):
    with pytest.raises(TypeError, match="state belongs to the variables of a model.*deepcopy"):
        pickle.dumps(trained.optimizer)
    again = pickle.loads(pickle.dumps(trained))
    _assert_same(again.optimizer, trained.optimizer)


def test_names_differ_as_h5_files_need(trained):
    paths = [variable.path for variable in trained.optimizer.variables]
    assert len(set(paths)) == len(paths)


def test_h5_files_hold_the_model_and_let_training_go_on(trained, tmp_path):
    """Keras reads no state of an optimizer from them, which it logs; it does not break it."""
    saving = keras.callbacks.ModelCheckpoint(tmp_path / "model.h5")
    saving.set_model(trained)
    saving.on_epoch_end(0, {})
    loaded = keras.models.load_model(tmp_path / "model.h5")
    for one, other in zip(loaded.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    loaded.compile(loaded.optimizer, loss="mse", run_eagerly=True)
    loaded.fit(X, X[:, :2], batch_size=8, verbose=0)
    assert int(loaded.optimizer.iterations) == 2
