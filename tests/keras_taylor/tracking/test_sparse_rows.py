"""Tests of sparse gradients: the sums are those of dense ones, and training is the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt
from keras_taylor.optimizers.tracked_sums import TrackedSums
from keras_taylor.tracking.sparse_rows import TouchedRows, moves_touched_rows_only

# More rounds than those after which distances are computed from all rows.
ROWS, STEPS = 3000, 20
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05),
    "clipped": lambda: keras.optimizers.SGD(0.05, global_clipnorm=0.1),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "decay": lambda: keras.optimizers.SGD(0.05, weight_decay=0.1),
    "adam": lambda: keras.optimizers.Adam(0.01),
}


def test_rows_given_twice_are_summed():
    generator = np.random.default_rng(0)
    numbers, values = generator.integers(0, 6, 12), generator.normal(size=(12, 3))
    rows = TouchedRows(tf.IndexedSlices(tf.constant(values), tf.constant(numbers)))
    table = generator.normal(size=(6, 3))
    dense = np.zeros((6, 3))
    np.add.at(dense, numbers, values)
    np.testing.assert_allclose(np.sum(rows.gradient**2, 0), np.sum(dense**2, 0))
    np.testing.assert_allclose(np.sum(rows.gradient * rows.of(table), 0), np.sum(dense * table, 0))
    touched = table[np.unique(numbers)]
    np.testing.assert_allclose(np.sum(rows.of(table) ** 2, 0), np.sum(touched**2, 0))
    total = keras.Variable(np.ones((6, 3)), dtype="float64")
    rows.add_gradient(total)
    np.testing.assert_allclose(total, 1 + dense)


def test_a_batch_without_examples_touches_no_row():
    rows = TouchedRows(tf.IndexedSlices(tf.zeros((0, 3)), tf.zeros((0,), "int32")))
    assert rows.gradient.shape == rows.of(tf.ones((6, 3))).shape == (0, 3)


def _model(optimizer, jit_compile=False):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), dtype="int32")
    hidden = keras.layers.Flatten()(keras.layers.Embedding(ROWS, 8, name="table")(inputs))
    hidden = keras.layers.Dense(6, "relu", name="hidden")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(hidden))
    model.compile(optimizer, loss="mse", jit_compile=jit_compile)
    return model


def _fit(model, steps=STEPS, **options):
    generator = np.random.default_rng(1)
    # Few of the rows, so that many are given twice.
    x, y = generator.integers(0, 50, (8 * steps, 4)), generator.normal(size=(8 * steps, 1))
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0, **options)
    return model


def _readings(tracker):
    names = ("linear_regret", "guarantee", "step_ratio", "gradient_agreement", "gradient_norm")
    found = {name: getattr(tracker, name)() for name in names}
    for kind in ("layers", "units"):
        for layer, value in tracker.linear_regret(kind).items():
            found[kind, layer] = value
        for layer, value in tracker.step_ratio(kind).items():
            found["ratio", kind, layer] = value
    return {name: np.asarray(value) for name, value in found.items()}


@pytest.mark.optimized_graphs
@pytest.mark.parametrize(
    ("name", "jit_compile", "eager"),
    [
        pytest.param(name, False, False, marks=() if name == "sgd" else pytest.mark.slow)
        for name in OPTIMIZERS
    ]
    + [("sgd", True, False), pytest.param("sgd", False, True, marks=pytest.mark.slow)],
)
def test_sums_are_those_of_dense_gradients(name, jit_compile, eager, monkeypatch):
    tracker = kt.optimizers.RegretTracker(OPTIMIZERS[name]())
    sparse = _model(tracker, jit_compile)
    sparse.run_eagerly = eager
    _fit(sparse)
    assert bool(tracker._tables) == (name in ("sgd", "clipped"))
    monkeypatch.setattr(TrackedSums, "_numbers_of_tables", lambda self, tracked: {})
    other = kt.optimizers.RegretTracker(OPTIMIZERS[name]())
    _fit(_model(other, jit_compile))
    assert int(tracker.steps) == int(other.steps) == STEPS
    for reading, value in _readings(other).items():
        assert np.isfinite(value).any(), reading
        found = _readings(tracker)[reading]
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6, err_msg=str(reading))
    plain = _model(OPTIMIZERS[name](), jit_compile)
    plain.run_eagerly = eager
    for one, two in zip(_fit(plain).get_weights(), sparse.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_tracking_starts_again_at_the_present_weights():
    tracker = kt.optimizers.RegretTracker(keras.optimizers.SGD(0.05))
    model = _fit(_model(tracker))
    tracker.start_tracking()
    first = model.get_layer("table").get_weights()[0]
    _fit(model, 5)
    distance = np.linalg.norm(model.get_layer("table").get_weights()[0] - first)
    # One more round sees the weights after the five updates.
    _fit(model, 1)
    guarantee = tracker.guarantee("layers")["table"]
    squares = 6 * np.asarray(tracker.gradient_norm("layers")["table"]) ** 2
    np.testing.assert_allclose(guarantee / np.sqrt(squares), distance, rtol=1e-5)


def test_sums_are_saved_with_a_model(tmp_path):
    model = _fit(_model(kt.optimizers.RegretTracker(keras.optimizers.SGD(0.05))), 5)
    model.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    for each in (model, loaded):
        _fit(each, 3)
    np.testing.assert_allclose(
        loaded.optimizer.linear_regret(), model.optimizer.linear_regret(), rtol=1e-6
    )


def test_optimizers_that_move_all_rows_are_known():
    variable = keras.Variable(np.ones((4, 2)))
    moves = {name: moves_touched_rows_only(o(), variable) for name, o in OPTIMIZERS.items()}
    assert moves == {
        "sgd": True,
        "clipped": True,
        "momentum": False,
        "decay": False,
        "adam": False,
    }
