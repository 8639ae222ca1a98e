"""Tests of the Gram matrices of units, against features and against passes through the model."""

import functools

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.optimum.dense import dense_objective
from keras_taylor.optimum.gram import gram_objective
from keras_taylor.optimum.sampled_rounds import rounds_of
from keras_taylor.optimum.streamed import StreamedObjective
from keras_taylor.weights.parts import Part

STEPS, BATCH = 30, 8
# Units below, as many as and above the outputs, and the outputs themselves.
UNITS = ("unit:narrow/0", "unit:even/2", "unit:wide/5", "unit:out/1")


class Together(keras.losses.Loss):
    """A squared error that is not a sum over outputs."""

    convex_in_output = quadratic_in_output = True

    def call(self, y_true, y_pred):
        return keras.ops.square(keras.ops.sum(y_pred - keras.ops.cast(y_true, y_pred.dtype), -1))


def _model(loss="mse"):
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((5,))
    for name, units in (("narrow", 3), ("even", 4), ("wide", 6)):
        x = keras.layers.Dense(units, "relu", name=name, use_bias=name != "even")(x)
    model = keras.Model(inputs, keras.layers.Dense(4, name="out")(x))
    model.compile(keras.optimizers.SGD(0.05), loss=loss)
    return model


def _recorded(path, model, weighted=False, **options):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(STEPS, BATCH, 5)).astype("float32")
    y = np.sin(x[..., :4] * 3)
    weights = 0.5 + generator.random((STEPS, BATCH)).astype("float32")
    batches = list(zip(x, y, weights, strict=True) if weighted else zip(x, y, strict=True))
    return kt.record(model, batches, path, steps=STEPS, verbose=0, **options)


@pytest.fixture(scope="module")
def rounds_by_kind(tmp_path_factory):
    """Makes the rounds of a kind once, however tests are ordered; they remember their features."""
    options = {"weighted": {"weighted": True}, "sampled": {"sample": 16, "examples": 5}}

    @functools.cache
    def rounds(kind):
        model, path = _model(), tmp_path_factory.mktemp("gram") / "run"
        return rounds_of(_recorded(path, model, **options.get(kind, {})), model)

    return rounds


@pytest.fixture(params=["plain", "weighted", "sampled"])
def rounds(request, rounds_by_kind):
    return rounds_by_kind(request.param)


@pytest.mark.parametrize(
    ("rounds", "name"),
    [
        *(("plain", name) for name in UNITS),
        *(("weighted", name) for name in (UNITS[0], UNITS[3])),
        *(("sampled", name) for name in (UNITS[0], UNITS[2])),
    ],
    indirect=["rounds"],
)
def test_equals_features_and_the_model(rounds, name):
    part = Part(rounds.scopes, name)
    gram = gram_objective(rounds, part)
    point = part.vector(rounds.first) + np.random.default_rng(1).normal(size=part.size)
    others = [dense_objective(rounds, part)]
    if name == "unit:narrow/0":
        others.append(StreamedObjective(rounds, part))
    horizon = rounds.ends[-2] if rounds.is_sampled else 21
    for other in others:
        for n in (horizon, len(rounds)):
            one, two = gram.over_first(n), other.over_first(n)
            value, gradient = one.value_and_gradient(point)
            expected, expected_gradient = two.value_and_gradient(point)
            assert value == pytest.approx(expected, rel=1e-10)
            np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-8, atol=1e-10)
            np.testing.assert_allclose(one.losses(point), two.losses(point), rtol=1e-9)
            if rounds.is_sampled:
                found = one.losses(point, check=True)
                np.testing.assert_allclose(found, two.losses(point, check=True), rtol=1e-9)
    product, expected = (o.curvature_product(point, point) for o in (gram, others[0]))
    np.testing.assert_allclose(product, expected, rtol=1e-8, atol=1e-10)


def test_shorter_and_longer_horizons_in_any_order(rounds):
    part = Part(rounds.scopes, "unit:out/0")
    point = part.vector(rounds.first) + 0.1
    horizons = rounds.ends[-3:] if rounds.is_sampled else [8, 20, 30]
    rising = gram_objective(rounds, part)
    values = [rising.over_first(n).value_and_gradient(point)[0] for n in horizons]
    falling = gram_objective(rounds, part)
    found = [falling.over_first(n).value_and_gradient(point)[0] for n in horizons[::-1]]
    np.testing.assert_allclose(values, found[::-1], rtol=1e-12)


@pytest.mark.parametrize(
    ("rounds", "size"),
    [
        ("plain", 0),
        pytest.param("plain", 256, marks=pytest.mark.slow),
        ("weighted", 256),
        ("sampled", 0),
    ],
    indirect=["rounds"],
)
def test_optima_are_those_of_features(rounds, monkeypatch, size):
    """By eigenvectors, and in a subspace."""
    monkeypatch.setattr("keras_taylor.optimum.gram.DIRECT_SIZE", size)
    model, trajectory = rounds.model, rounds.trajectory
    options = {"tolerance": 1e-6, "verbose": 0}
    found = kt.taylor_optimum(trajectory, model, "unit:wide/5", [0.1, 1.0], **options)
    monkeypatch.setattr("keras_taylor.optimum.solver.gram_objective", lambda *_: None)
    expected = kt.taylor_optimum(trajectory, model, "unit:wide/5", [0.1, 1.0], **options)
    for one, other in zip(found, expected, strict=True):
        assert one.converged
        assert one.value == pytest.approx(other.value, rel=3e-6)
        assert one.lower_bound == pytest.approx(other.lower_bound, rel=3e-6)


def test_a_dead_unit_has_the_loss_of_its_first_weights(tmp_path):
    model = _model()
    model.get_layer("wide").bias.assign([0.0, 0.0, -1e3, 0.0, 0.0, 0.0])
    trajectory = _recorded(tmp_path / "run", model)
    units = [f"unit:wide/{unit}" for unit in (1, 2)]
    alive, dead = kt.decompose(trajectory, model, units, rounds=[STEPS], verbose=0).rows
    assert alive["radius"] > dead["radius"] == 0.0
    assert dead["optimum_upper"] == pytest.approx(dead["average_loss"], rel=1e-6)
    assert dead["optimum_lower"] == pytest.approx(dead["optimum_upper"], abs=1e-9)


def test_outputs_that_are_not_apart_have_no_gram_matrix_of_their_own(tmp_path):
    model = _model(Together())
    rounds = rounds_of(_recorded(tmp_path / "run", model), model)
    assert gram_objective(rounds, Part(rounds.scopes, "unit:out/1")) is None
    # Where the curvature of all outputs together is kept, there is one.
    assert gram_objective(rounds, Part(rounds.scopes, "unit:narrow/1")) is not None


def test_bounds_hold_where_inputs_have_a_large_mean(tmp_path):
    """Against the same sums in extended precision; sums of products of inputs cancel."""
    generator = np.random.default_rng(0)
    x = (1000 + generator.normal(size=(10, 16, 8))).astype("float32")
    y = generator.normal(size=(10, 16, 1)).astype("float32")
    zeros = {"kernel_initializer": "zeros", "name": "a"}
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, **zeros)], name="net")
    model.compile(keras.optimizers.SGD(1e-12), loss="mse")
    path = tmp_path / "run"
    trajectory = kt.record(model, list(zip(x, y, strict=True)), path, steps=10, verbose=0)
    options = {"radius": 5.0, "tolerance": 1e-8, "verbose": 0}
    found = kt.taylor_optimum(trajectory, model, "unit:net/a/0", max_passes=80, **options)
    wide = np.longdouble
    kernel, bias = (np.asarray(array, wide) for array in found.comparator)
    errors = x.reshape(-1, 8).astype(wide) @ kernel + bias - y.reshape(-1, 1).astype(wide)
    value = (errors**2).mean()
    assert found.value >= value
    assert float(found.value - value) <= 1e-9 * float(value)
