"""Tests of weights files with optimizers of one kind that are loaded with optimizers of another."""

import keras
import numpy as np
import pytest

import keras_taylor as kt

X, Y = np.ones((8, 4), "float32"), np.ones((8, 2), "float32")
WRAPPERS = {
    "plain": lambda optimizer: optimizer,
    "tracker": kt.optimizers.RegretTracker,
    "normalised": kt.optimizers.RMSNormalized,
    "scaled": lambda optimizer: kt.optimizers.LossScaled(kt.optimizers.RegretTracker(optimizer)),
}


def _model(wrap="tracker", fitted=False, hidden=3):
    layers = [keras.Input((4,)), keras.layers.Dense(hidden, name="a"), keras.layers.Dense(2)]
    model = keras.Sequential(layers, name="net")
    model.compile(WRAPPERS[wrap](keras.optimizers.Adam(0.01)), loss="mse")
    if fitted:
        model.fit(X, Y, batch_size=4, verbose=0)
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("loader", WRAPPERS)
@pytest.mark.parametrize(("saver", "saver_fitted"), [("plain", True), ("tracker", False)])
def test_weights_load_whatever_the_optimizers_are(tmp_path, saver, saver_fitted, loader, fitted):
    saved, loaded = _model(saver, saver_fitted), _model(loader, fitted)
    saved.save_weights(tmp_path / "a.weights.h5")
    loaded.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), saved.predict(X, verbose=0))
    assert np.isfinite(loaded.fit(X, Y, batch_size=4, verbose=0).history["loss"]).all()


def test_sums_of_a_fitted_tracker_start_again_with_a_warning(tmp_path):
    saved, loaded = _model("plain", fitted=True), _model(fitted=True)
    saved.save_weights(tmp_path / "a.weights.h5")
    with pytest.warns(UserWarning, match="tracked sums start from zero with the next round"):
        loaded.load_weights(tmp_path / "a.weights.h5")
    assert loaded.optimizer.steps == 0
    loaded.fit(X, Y, batch_size=8, verbose=0)
    assert loaded.optimizer.steps == 1
    # W^1 is what was loaded.
    assert loaded.optimizer.linear_regret() == 0.0


def test_sums_of_the_same_model_are_loaded(tmp_path):
    saved, loaded = _model(fitted=True), _model(fitted=True)
    saved.fit(X, Y, batch_size=4, verbose=0)
    saved.save_weights(tmp_path / "a.weights.h5")
    loaded.load_weights(tmp_path / "a.weights.h5")
    assert loaded.optimizer.steps == 4
    regrets = loaded.optimizer.linear_regret(), saved.optimizer.linear_regret()
    np.testing.assert_array_equal(*regrets)


def test_sums_of_other_shapes_are_not_taken():
    saved, loaded = _model(fitted=True, hidden=5).optimizer, _model(fitted=True).optimizer
    store = {str(n): variable.numpy() for n, variable in enumerate(saved.variables)}
    assert len(saved.variables) == len(loaded.variables)
    with pytest.warns(UserWarning, match="of other shapes"):
        loaded.load_own_variables(store)
    assert loaded.steps == 0
