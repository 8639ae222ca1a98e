"""Tests of the optimum of dense layers on their features: that of passes through the model."""

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.optimum import dense, dense_graphs, solver
from keras_taylor.optimum.rounds import Rounds
from keras_taylor.optimum.streamed import StreamedObjective
from keras_taylor.weights.parts import Part

ROUNDS, BATCH = 7, 6


def _model(loss, outputs=3, final=None, middle=()):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    hidden = keras.layers.Dense(4, activation="tanh", name="first")(inputs)
    for layer in middle:
        hidden = layer(hidden)
    hidden = keras.layers.Dense(2, "relu", use_bias=False, name="middle")(hidden)
    hidden = keras.layers.Dense(4, "relu", bias_initializer="ones", name="late")(hidden)
    outputs = keras.layers.Dense(outputs, activation=final, name="last")(hidden)
    model = keras.Model(inputs, outputs)
    # Made here, where the precision is set.
    model.compile(keras.optimizers.SGD(0.1), loss=loss() if callable(loss) else loss)
    return model


def _recorded(path, model, classes=None, weighted=False):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROUNDS, BATCH, 5))
    outputs = model.output_shape[-1]
    if classes:
        y = generator.integers(0, classes, (ROUNDS, BATCH))
    else:
        y = generator.normal(size=(ROUNDS, BATCH, outputs))
    batches = [
        (a, b, generator.uniform(0.5, 2, BATCH)) if weighted else (a, b)
        for a, b in zip(x, y, strict=True)
    ]
    return kt.record(model, batches, path / "run", steps=ROUNDS, verbose=0)


CASES = {
    "logits": {"loss": lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
    "softmax": {"loss": "sparse_categorical_crossentropy", "final": "softmax"},
    "squared error, few outputs": {"loss": "mse"},
    "squared error, many outputs": {"loss": "mse", "outputs": 9},
    "sum": {"loss": lambda: keras.losses.MeanSquaredError(reduction="sum"), "outputs": 5},
    "sum of a loss that is not quadratic": {"loss": lambda: keras.losses.LogCosh(reduction="sum")},
    "Huber": {"loss": "huber"},
    "activation at the output": {"loss": "mse", "final": "tanh"},
}


LAYERS = ("layer:first", "layer:middle", "layer:last")
UNITS = ("unit:late/1", "unit:last/2")
WEIGHTED = ("softmax, weighted", "squared error, many outputs, weighted")
# What they have, others have too.
RARE = (
    "softmax",
    "squared error, few outputs",
    "squared error, many outputs",
    "sum",
    "Huber",
)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("case", "layer", "unit"),
    # Each case has a layer and a unit, and each of these occurs with several kinds of features.
    [
        pytest.param(
            case,
            LAYERS[number % len(LAYERS)],
            UNITS[number % len(UNITS)],
            marks=pytest.mark.slow if case in RARE else (),
        )
        for number, case in enumerate((*CASES, *WEIGHTED))
    ],
)
def test_objective_is_that_of_passes_through_the_model(case, layer, unit, tmp_path):
    weighted = case.endswith(", weighted")
    case = case.removesuffix(", weighted")
    model = _model(**CASES[case])
    is_classifier = case in ("logits", "softmax")
    trajectory = _recorded(tmp_path, model, 3 if is_classifier else None, weighted)
    rounds = Rounds(trajectory, model)
    generator = np.random.default_rng(1)
    for name in (layer, unit):
        part = Part(rounds.scopes, name)
        fast, slow = dense.dense_objective(rounds, part), StreamedObjective(rounds, part)
        assert fast is not None, name
        for horizon in (ROUNDS, 3):
            fast, slow = fast.over_first(horizon), slow.over_first(horizon)
            first = part.vector(rounds.first)
            v, p = first + 0.3 * generator.normal(size=(2, first.size))
            value, gradient = slow.value_and_gradient(v)
            np.testing.assert_allclose(fast.value_and_gradient(v)[0], value, rtol=1e-9)
            np.testing.assert_allclose(fast.value_and_gradient(v)[1], gradient, atol=1e-9)
            np.testing.assert_allclose(
                fast.curvature_product(v, p), slow.curvature_product(v, p), atol=1e-9
            )
            np.testing.assert_allclose(fast.losses(v), slow.losses(v))
            np.testing.assert_allclose(np.mean(fast.losses(v)), value, rtol=1e-9)


def _on_places(loss, final):
    """A model whose dense layers act on each of three places, or on two axes of them."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3, 2, 5))
    hidden = keras.layers.Dense(4, "tanh", name="first")(inputs)
    hidden = keras.layers.Reshape((3, 8))(hidden)
    hidden = keras.layers.Dense(2, "relu", bias_initializer="ones", name="middle")(hidden)
    if final == "pooled":
        hidden = keras.layers.GlobalAveragePooling1D()(hidden)
    model = keras.Model(inputs, keras.layers.Dense(2, name="last")(hidden))
    model.compile(keras.optimizers.SGD(0.1), loss=loss)
    return model


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("loss", "final"),
    [("mse", "pooled"), pytest.param("huber", "places", marks=pytest.mark.slow)],
)
def test_objective_of_layers_on_places_is_that_of_passes(loss, final, tmp_path):
    model = _on_places(loss, final)
    generator = np.random.default_rng(0)
    shapes = (BATCH, *model.input_shape[1:]), (BATCH, *model.output_shape[1:])
    batches = [tuple(generator.normal(size=shape) for shape in shapes) for _ in range(ROUNDS)]
    trajectory = kt.record(model, batches, tmp_path / "run", steps=ROUNDS, verbose=0)
    rounds = Rounds(trajectory, model)
    for name in ("layer:first", "unit:middle/1", "unit:last/1"):
        part = Part(rounds.scopes, name)
        fast, slow = dense.dense_objective(rounds, part), StreamedObjective(rounds, part)
        assert fast is not None, name
        first = part.vector(rounds.first)
        v, p = first + 0.3 * generator.normal(size=(2, first.size))
        for found, expected in zip(
            fast.value_and_gradient(v), slow.value_and_gradient(v), strict=True
        ):
            np.testing.assert_allclose(found, expected, atol=1e-9)
        products = fast.curvature_product(v, p), slow.curvature_product(v, p)
        np.testing.assert_allclose(*products, atol=1e-9)
        np.testing.assert_allclose(fast.losses(v), slow.losses(v))
    units = kt.taylor_optimum(trajectory, model, "unit:middle/0", radius=0.5, verbose=0)
    assert units.converged


def test_same_optimum_and_certificate_in_single_precision(tmp_path, monkeypatch):
    model = _model(CASES["logits"]["loss"])
    trajectory = _recorded(tmp_path, model, 3)
    fast = {
        name: kt.taylor_optimum(trajectory, model, name, tolerance=1e-4, verbose=0)
        for name in ("layer:first", "unit:first/0")
    }
    monkeypatch.setattr(solver, "dense_objective", lambda rounds, part: None)
    for name, found in fast.items():
        slow = kt.taylor_optimum(trajectory, model, name, tolerance=1e-4, verbose=0)
        assert found.value == pytest.approx(slow.value, rel=2e-4)
        assert found.lower_bound <= slow.value * (1 + 1e-5)
        assert slow.lower_bound <= found.value * (1 + 1e-5)


def test_what_is_no_such_layer_goes_through_the_model(tmp_path):
    normalized = _model("mse", middle=[keras.layers.BatchNormalization(name="norm")])
    penalised = _model("mse", middle=[keras.layers.Dense(3, kernel_regularizer="l2")])
    for number, model in enumerate((normalized, penalised)):
        trajectory = _recorded(tmp_path / str(number), model)
        rounds = Rounds(trajectory, model)
        assert dense.dense_objective(rounds, Part(rounds.scopes, "layer:first")) is None
        assert dense.dense_objective(rounds, Part(rounds.scopes, "network")) is None
    found = kt.taylor_optimum(trajectory, model, "layer:first", tolerance=0.01, verbose=0)
    assert found.converged


def test_features_that_disagree_with_the_model_are_not_used(tmp_path, monkeypatch):
    model = _model("mse")
    trajectory = _recorded(tmp_path, model)
    rounds = Rounds(trajectory, model)
    monkeypatch.setattr(dense_graphs.DenseGraphs, "_sum", lambda self, v, chunk: 2.0 * v[0, 0])
    assert isinstance(solver.Solver(rounds, "layer:first").objective, StreamedObjective)
