"""Tests of curvature on what was kept of a layer: that of passes through the model."""

import weakref

import keras
import numpy as np
import pytest
from objectives import solved

import keras_taylor as kt
from keras_taylor.optimum import affine_features, output_subspace
from keras_taylor.optimum.affine import AffineObjective
from keras_taylor.optimum.rounds import Rounds
from keras_taylor.optimum.sampled_rounds import rounds_of
from keras_taylor.optimum.solver import objective_of
from keras_taylor.optimum.streamed import StreamedObjective
from keras_taylor.weights.parts import Part

ROUNDS, BATCH = 6, 5
LAYERS = {
    "strided": {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same"},
    "dilated": {"filters": 4, "kernel_size": 2, "dilation_rate": 2},
    "without bias": {"filters": 4, "kernel_size": 3, "use_bias": False},
}


def _model(loss, options, outputs=3):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((9, 9, 2))
    hidden = keras.layers.Conv2D(4, 3, activation="tanh", padding="same", name="first")(inputs)
    hidden = keras.layers.Conv2D(**options, activation="relu", name="second")(hidden)
    hidden = keras.layers.MaxPooling2D(2)(hidden)
    hidden = keras.layers.Flatten()(hidden)
    model = keras.Model(inputs, keras.layers.Dense(outputs, name="last")(hidden))
    if loss == "cross-entropy":
        # Made here, where the precision is set.
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss=loss)
    return model


def _recorded(path, model, classes=None, weighted=False, steps=ROUNDS, **options):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(steps, BATCH, 9, 9, 2))
    if classes:
        y = generator.integers(0, classes, (steps, BATCH))
    else:
        y = generator.normal(size=(steps, BATCH, model.output_shape[-1]))
    weights = generator.uniform(0.5, 2, (steps, BATCH))
    batches = list(zip(x, y, *([weights] if weighted else []), strict=True))
    return kt.record(model, batches, path / "run", steps=steps, verbose=0, **options)


@pytest.fixture(scope="module")
def mean_squares(tmp_path_factory):
    """A run with squared errors in single precision, and its model."""
    model = _model("mse", LAYERS["strided"])
    return _recorded(tmp_path_factory.mktemp("squares"), model), model


def _points(objective):
    first = objective.part.vector(objective._rounds.first)
    return first + 0.3 * np.random.default_rng(1).normal(size=(2, first.size))


def _check_equal(objective, slow, v, p):
    fast = objective.on_features()
    value, gradient = slow.value_and_gradient(v)
    np.testing.assert_allclose(fast.value_and_gradient(v)[0], value, rtol=1e-10)
    np.testing.assert_allclose(fast.value_and_gradient(v)[1], gradient, atol=1e-10)
    product = slow.curvature_product(v, p)
    np.testing.assert_allclose(fast.curvature_product(v, p), product, atol=1e-10)
    _check_outputs(fast, v, p, value, gradient, product)


def _check_outputs(fast, v, p, value, gradient, product):
    """F as a function of the outputs, which are affine in the weights, is the same."""
    outputs, moved = fast.outputs(v), fast.moved(p)
    np.testing.assert_allclose(fast.outputs(v + p) - outputs, moved, atol=1e-10)
    found, slopes = fast.value_and_slopes(outputs)
    np.testing.assert_allclose(found, value, rtol=1e-10)
    np.testing.assert_allclose(fast.pulled(slopes), gradient, atol=1e-10)
    curved = np.einsum("eij,ej->ei", fast.curvature(outputs), moved)
    np.testing.assert_allclose(fast.pulled(curved), product, atol=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("loss", "layer", "weighted"),
    [
        ("cross-entropy", "strided", False),
        ("cross-entropy", "without bias", True),
        ("mse", "dilated", False),
    ],
)
def test_features_give_the_same_as_passes_through_the_model(loss, layer, weighted, tmp_path):
    model = _model(loss, LAYERS[layer])
    trajectory = _recorded(tmp_path, model, None if loss == "mse" else 3, weighted)
    rounds = Rounds(trajectory, model)
    for name in ("layer:first", "layer:second"):
        objective = AffineObjective(rounds, Part(rounds.scopes, name))
        slow = StreamedObjective(rounds, objective.part)
        v, p = _points(objective)
        for horizon in (ROUNDS, 4):
            _check_equal(objective.over_first(horizon), slow.over_first(horizon), v, p)


@pytest.mark.usefixtures("float64")
def test_what_takes_less_memory_is_kept(tmp_path):
    """The first layer has 81 places and 76 weights, the second 49 places and 68."""
    model = _model("mse", {"filters": 4, "kernel_size": 2, "dilation_rate": 2}, outputs=2)
    rounds = Rounds(_recorded(tmp_path, model), model)
    first, second = (affine_features.collect(rounds, name) for name in ("first", "second"))
    assert first.chunks[0]["rows"].shape == (ROUNDS * BATCH, 2, 3 * 3 * 2 * 4 + 4)
    assert second.chunks[0]["rows"].shape == (ROUNDS * BATCH, 2, 2 * 2 * 4 * 4 + 4)
    wide = _model("mse", {"filters": 30, "kernel_size": 3, "strides": 2}, outputs=2)
    rounds = Rounds(_recorded(tmp_path / "wide", wide), wide)
    second = affine_features.collect(rounds, "second").chunks[0]
    assert "rows" not in second
    assert second["jacobian"].shape == (ROUNDS * BATCH, 2, 4 * 4 * 30)
    assert second["inputs"].shape == (ROUNDS * BATCH, 9, 9, 4)


def test_features_of_a_float32_model_have_the_kinks_of_its_copy_in_float64(tmp_path):
    """`w x - c` is 2^-24, which in float32 is 0: there the rectifier is off, and F is flat."""
    inputs = keras.Input((2, 2, 1))
    first = keras.layers.Conv2D(1, 1, use_bias=False, name="first")
    hidden = keras.layers.Rescaling(1.0, offset=-(1 + 2.0**-11))(first(inputs))
    hidden = keras.layers.Flatten()(keras.layers.ReLU()(hidden))
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(hidden))
    first.set_weights([np.full((1, 1, 1, 1), 1 + 2.0**-12)])
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    batches = [(np.full((BATCH, 2, 2, 1), 1 + 2.0**-12), np.ones((BATCH, 1)))]
    rounds = Rounds(kt.record(model, batches, tmp_path / "run", steps=1, verbose=0), model)
    objective = AffineObjective(rounds, Part(rounds.scopes, "layer:first"))
    point, fast = objective.part.vector(rounds.first), objective.on_features()
    (gradient,) = fast.value_and_gradient(point)[1]
    assert fast.dtype == "float32"
    assert gradient
    assert gradient == pytest.approx(objective.value_and_gradient(point)[1][0], rel=1e-5)


@pytest.mark.usefixtures("float64")
def test_sampled_rounds_count_as_often_as_they_stand_for(tmp_path):
    model = _model("cross-entropy", LAYERS["strided"])
    trajectory = _recorded(tmp_path, model, 3, steps=40, sample=24, examples=3)
    rounds = rounds_of(trajectory, model)
    objective = AffineObjective(rounds, Part(rounds.scopes, "layer:second"))
    _check_equal(objective, StreamedObjective(rounds, objective.part), *_points(objective))


def test_optimum_is_that_of_passes_through_the_model(tmp_path, monkeypatch):
    model = _model("cross-entropy", LAYERS["strided"])
    trajectory = _recorded(tmp_path, model, 3)
    options = {"radius": 3.0, "tolerance": 1e-4, "verbose": 0}
    fast = kt.taylor_optimum(trajectory, model, "layer:second", **options)
    monkeypatch.setattr(affine_features, "collect", lambda rounds, key: None)
    slow = kt.taylor_optimum(trajectory, model, "layer:second", **options)
    assert fast.converged
    assert slow.converged
    assert fast.lower_bound <= slow.value
    assert slow.lower_bound <= fast.value


def test_a_solve_whose_images_would_be_too_large_takes_newton_steps(tmp_path, monkeypatch):
    model = _model("cross-entropy", LAYERS["strided"])
    rounds = Rounds(_recorded(tmp_path, model, 3), model)
    objective = AffineObjective(rounds, Part(rounds.scopes, "layer:second"))
    assert objective.on_features().has_room_for_images
    monkeypatch.setattr(affine_features, "KEPT_BYTES", 1000)
    assert not objective.on_features().has_room_for_images
    monkeypatch.setattr(output_subspace, "minimize", None)
    (found,), _ = solved(objective, objective.part.vector(rounds.first), [1.0], 0.01)
    assert found.reached(0.01)


class RootMeanSquare(keras.losses.Loss):
    """A loss whose examples are not apart: features of several rounds at once do not give it."""

    convex_in_output = True

    def __init__(self):
        super().__init__(reduction="sum")

    def call(self, y, f):
        return keras.ops.sqrt(keras.ops.mean(keras.ops.square(y - f)))[None]


def test_features_that_disagree_with_the_model_are_not_used(tmp_path):
    model = _model(RootMeanSquare(), LAYERS["strided"])
    rounds = Rounds(_recorded(tmp_path, model), model)
    for name in ("layer:second", "layer:last"):
        objective = objective_of(rounds, Part(rounds.scopes, name))
        assert type(objective) is AffineObjective
        assert objective.on_features() is None


def test_a_layer_that_is_frozen_in_part_goes_through_the_model(tmp_path):
    model = _model("mse", LAYERS["strided"])
    model.get_layer("second").bias.trainable = False
    model.get_layer("last").kernel.trainable = False
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    trajectory = _recorded(tmp_path, model)
    for name in ("layer:second", "layer:last"):
        found = kt.taylor_optimum(trajectory, model, name, tolerance=0.01, verbose=0)
        assert found.converged


def test_rounds_of_several_sizes_go_through_the_model(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, 2))
    hidden = keras.layers.Conv1D(3, 2, activation="tanh", name="first")(inputs)
    pooled = keras.layers.GlobalAveragePooling1D()(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1)(pooled))
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    generator = np.random.default_rng(0)
    batches = [(generator.normal(size=(4, n, 2)), generator.normal(size=(4, 1))) for n in (5, 7, 6)]
    trajectory = kt.record(model, batches, tmp_path / "run", steps=3, verbose=0)
    assert kt.taylor_optimum(trajectory, model, "layer:first", tolerance=0.01, verbose=0).converged


def test_weights_of_examples_in_some_rounds_alone_go_through_the_model(tmp_path):
    model = _model("mse", LAYERS["strided"])
    generator = np.random.default_rng(0)
    shapes = (BATCH, 9, 9, 2), (BATCH, 3)
    batches = [tuple(generator.normal(size=shape) for shape in shapes) for _ in range(4)]
    batches[2] += (generator.uniform(0.5, 2, BATCH),)
    trajectory = kt.record(model, batches, tmp_path / "run", steps=4, verbose=0)
    found = kt.taylor_optimum(trajectory, model, "layer:second", tolerance=0.01, verbose=0)
    assert found.converged


def test_an_interrupt_while_features_are_collected_leaves_a_valid_interval(
    mean_squares, monkeypatch
):

    def interrupted(rounds, key):
        raise KeyboardInterrupt

    monkeypatch.setattr(affine_features, "collect", interrupted)
    found = kt.taylor_optimum(*mean_squares, "layer:second", tolerance=1e-3, verbose=0)
    assert found.reason == "interrupted"
    assert found.lower_bound < found.value < np.inf


def test_features_of_one_layer_are_kept_at_a_time(mean_squares):
    rounds = Rounds(*mean_squares)
    first, second = (
        AffineObjective(rounds, Part(rounds.scopes, f"layer:{name}"))
        for name in ("first", "second")
    )
    kept = weakref.ref(first.on_features()._features)
    assert kept() is not None
    second.on_features()
    assert kept() is None


def test_what_would_be_too_large_goes_through_the_model(mean_squares, monkeypatch):
    rounds = Rounds(*mean_squares)
    monkeypatch.setattr(affine_features, "KEPT_BYTES", 10_000)
    assert affine_features.collect(rounds, "second") is None
    objective = AffineObjective(rounds, Part(rounds.scopes, "layer:second"))
    assert objective.on_features() is None


def test_models_that_mix_examples_or_have_penalties_or_groups_are_not_for_this_way(tmp_path):
    for number, layer in enumerate(
        (
            keras.layers.BatchNormalization(),
            keras.layers.Conv2D(2, 3, kernel_regularizer="l2"),
            keras.layers.Conv2D(2, 3, groups=2),
        )
    ):
        inputs = keras.Input((9, 9, 2))
        hidden = keras.layers.Conv2D(2, 3, name="first")(inputs)
        hidden = keras.layers.Flatten()(layer(hidden))
        model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
        model.compile(keras.optimizers.SGD(0.01), loss="mse")
        rounds = Rounds(_recorded(tmp_path / str(number), model), model)
        assert affine_features.collect(rounds, "first") is None
