"""Tests of F on features of one layer: that of passes through the model."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

import keras_taylor as kt
from keras_taylor.optimum import driver, features, passes
from keras_taylor.optimum.objective import Objective
from keras_taylor.optimum.requests import Evaluate, Multiply
from keras_taylor.optimum.sampled_rounds import rounds_of
from keras_taylor.weights.parts import Part

ROUNDS, BATCH = 7, 6


class Together(keras.losses.Loss):
    """A squared error that is not a sum over outputs."""

    convex_in_output = quadratic_in_output = True

    def call(self, y_true, y_pred):
        return keras.ops.square(keras.ops.sum(y_pred - keras.ops.cast(y_true, y_pred.dtype), -1))


class Uneven(keras.losses.Loss):
    """A squared error with another weight for each output."""

    convex_in_output = quadratic_in_output = True

    def call(self, y_true, y_pred):
        error = keras.ops.square(y_pred - keras.ops.cast(y_true, y_pred.dtype))
        return keras.ops.sum(
            error * keras.ops.arange(1, 1 + y_pred.shape[-1], dtype=error.dtype), -1
        )


class RootMeanSquare(keras.losses.Loss):
    """A loss that couples the examples of a batch."""

    convex_in_output = True

    def __init__(self):
        super().__init__(reduction="sum")

    def call(self, y, f):
        return keras.ops.sqrt(keras.ops.mean(keras.ops.square(y - f)))[None]


def _dense(outputs=3, final=None):
    x = inputs = keras.Input((5,))
    x = layers.Dense(4, "tanh", name="first")(x)
    x = layers.Dense(2, "relu", use_bias=False, name="middle")(x)
    x = layers.Dense(4, "relu", bias_initializer="ones", name="late")(x)
    return keras.Model(inputs, layers.Dense(outputs, final, name="last")(x))


def _places(pooled):
    x = inputs = keras.Input((3, 2, 5))
    x = layers.Reshape((3, 8))(layers.Dense(4, "tanh", name="first")(x))
    x = layers.Dense(2, "relu", bias_initializer="ones", name="middle")(x)
    x = layers.GlobalAveragePooling1D()(x) if pooled else x
    return keras.Model(inputs, layers.Dense(2, name="last")(x))


def _convolutions(outputs=3, middle=(), **options):
    options = {"filters": 4, "kernel_size": 3, "activation": "relu", "name": "second"} | options
    x = inputs = keras.Input((7, 7, 2))
    x = layers.Conv2D(3, 3, activation="tanh", padding="same", name="first")(x)
    for layer in middle:
        x = layer(x)
    x = layers.MaxPooling2D(2)(layers.Conv2D(**options)(x))
    return keras.Model(inputs, layers.Dense(outputs, name="last")(layers.Flatten()(x)))


def _cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


DENSE = "layer:first", "layer:middle", "layer:last", "units:late", "units:last"
CONVOLUTIONS = "layer:first", "layer:second", "layer:last", "units:second", "units:last"
# By name: the model, the loss, the parts, the classes and options of the recording.
CASES = {
    "logits": (_dense, _cross_entropy, DENSE, 3, {}),
    "softmax, weighted": (
        functools.partial(_dense, final="softmax"),
        lambda: "sparse_categorical_crossentropy",
        DENSE,
        3,
        {"weighted": True},
    ),
    "squared error": (_dense, lambda: "mse", DENSE, None, {"weighted": True}),
    "squared error, many outputs": (functools.partial(_dense, 9), lambda: "mse", DENSE, None, {}),
    "many outputs behind an activation": (
        functools.partial(_dense, 9, "tanh"),
        lambda: "mse",
        DENSE,
        None,
        {},
    ),
    "a sum": (
        functools.partial(_dense, 5),
        lambda: keras.losses.MeanSquaredError(reduction="sum"),
        DENSE,
        None,
        {},
    ),
    "outputs together": (functools.partial(_dense, 9), Together, DENSE, None, {}),
    "outputs of other weights": (functools.partial(_dense, 9), Uneven, DENSE, None, {}),
    "Huber": (_dense, lambda: "huber", DENSE, None, {}),
    "a sample": (_dense, lambda: "mse", DENSE, None, {"steps": 40, "sample": 24, "examples": 3}),
    "pooled places": (
        functools.partial(_places, pooled=True),
        lambda: "mse",
        ("layer:first", "units:middle", "units:last"),
        None,
        {},
    ),
    "places at the output": (
        functools.partial(_places, pooled=False),
        lambda: "huber",
        ("layer:last", "units:middle", "units:last"),
        None,
        {},
    ),
    "convolutions": (
        functools.partial(_convolutions, strides=2, padding="same"),
        _cross_entropy,
        CONVOLUTIONS,
        3,
        {},
    ),
    "convolutions, squared error": (
        functools.partial(_convolutions, dilation_rate=2, kernel_size=2),
        lambda: "mse",
        CONVOLUTIONS,
        None,
        {},
    ),
    "convolutions without bias, a weighted sample": (
        functools.partial(_convolutions, use_bias=False),
        _cross_entropy,
        CONVOLUTIONS,
        3,
        {"weighted": True, "steps": 40, "sample": 24, "examples": 3},
    ),
}
# What they have, others have too.
RARE = (
    "softmax, weighted",
    "squared error",
    "many outputs behind an activation",
    "a sum",
    "outputs together",
    "Huber",
    "convolutions, squared error",
)


def _recorded(path, build, loss, classes=None, weighted=False, steps=ROUNDS, rate=0.1, **options):
    keras.utils.set_random_seed(0)
    model = build()
    # The loss is made here, where the precision is set.
    model.compile(keras.optimizers.SGD(rate), loss=loss())
    generator = np.random.default_rng(0)
    x = generator.normal(size=(steps, BATCH, *model.input_shape[1:]))
    y = generator.normal(size=(steps, BATCH, *model.output_shape[1:]))
    y = generator.integers(0, classes, (steps, BATCH)) if classes else y
    weights = generator.uniform(0.5, 2, (steps, BATCH))
    batches = list(zip(x, y, *([weights] if weighted else []), strict=True))
    trajectory = kt.record(model, batches, path / "run", steps=steps, verbose=0, **options)
    return rounds_of(trajectory, model)


def _objective(rounds, name):
    """Returns the objective of a part, or of all units of a layer."""
    kind, layer = name.split(":")
    names = [name]
    if kind == "units":
        names = [f"unit:{layer}/{n}" for n in range(rounds.scopes.layers[layer])]
    found = list(driver.objectives(rounds, names))
    assert len(found) == 1, "units share passes"
    return found[0]


def _check_equal(fast, rounds):
    generator = np.random.default_rng(1)
    points, vectors = (
        [p.vector(rounds.first) * shift + generator.normal(size=p.size) for p in fast.parts]
        for shift in (1.0, 0.0)
    )
    places = range(len(fast.parts))
    evaluated = fast.answers({n: Evaluate(points[n]) for n in places})
    products = fast.answers({n: Multiply(points[n], vectors[n]) for n in places})
    losses = fast.losses(places, points), fast.losses(places, points, rounds.is_sampled)
    # Of units, the first and the last.
    for place in {0, len(fast.parts) - 1}:
        slow, point = Objective(rounds, [fast.parts[place]]), points[place]
        slow.horizon = fast.horizon
        value, gradient = slow.answers({0: Evaluate(point)})[0]
        np.testing.assert_allclose(evaluated[place][0], value, rtol=1e-9)
        np.testing.assert_allclose(evaluated[place][1], gradient, atol=1e-9)
        product = slow.answers({0: Multiply(point, vectors[place])})[0]
        np.testing.assert_allclose(products[place], product, atol=1e-9)
        for found, check in zip(losses, (False, rounds.is_sampled), strict=True):
            np.testing.assert_allclose(found[place], slow.losses([0], [point], check)[0])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("number", "case"),
    [pytest.param(*c, marks=pytest.mark.slow if c[1] in RARE else ()) for c in enumerate(CASES)],
)
def test_f_on_features_is_f_through_the_model(number, case, tmp_path):
    build, loss, names, classes, options = CASES[case]
    rounds = _recorded(tmp_path, build, loss, classes, **options)
    # A layer and the units of one in each case, each of them with several kinds of features.
    kinds = [[name for name in names if name.startswith(kind)] for kind in ("layer", "units")]
    names = [some[number % len(some)] for some in kinds]
    for name in names:
        fast = _objective(rounds, name)
        assert fast.is_on_features, name
        horizons = [len(rounds), rounds.ends[-3] if rounds.is_sampled else 4]
        for horizon in horizons if name == names[0] else horizons[:1]:
            fast.horizon = horizon
            _check_equal(fast, rounds)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["layer:second", "units:second"])
def test_chunks_and_streams_change_nothing(name, tmp_path, monkeypatch):
    rounds = _recorded(tmp_path, _convolutions, _cross_entropy, 3)
    monkeypatch.setattr(passes, "CHUNK_BYTES", 3000)
    _check_equal(_objective(rounds, name), rounds)
    rounds.remember(None, "nothing", lambda: None)
    monkeypatch.setattr(features, "KEPT_BYTES", 1000)
    found = _objective(rounds, name)
    assert found.is_on_features == name.startswith("units")
    _check_equal(found, rounds)


def test_units_in_blocks_change_nothing(tmp_path, monkeypatch):
    rounds = _recorded(tmp_path, _dense, _cross_entropy, 3)
    whole = _objective(rounds, "units:late")
    asked = {n: Evaluate(p.vector(rounds.first) + 0.3) for n, p in enumerate(whole.parts)}
    expected = whole.answers(asked)
    monkeypatch.setattr(features, "BLOCK_NUMBERS", 1)
    found = whole.answers(asked)
    for place in asked:
        np.testing.assert_allclose(found[place][0], expected[place][0], rtol=1e-12)
        np.testing.assert_allclose(found[place][1], expected[place][1], rtol=1e-9)


def test_features_of_a_float32_model_have_the_kinks_of_its_copy_in_float64(tmp_path, monkeypatch):
    """`w x - c` is 2^-24, which in float32 is 0: there the rectifier is off, and F is flat."""
    monkeypatch.setattr(features, "EXACT_BYTES", 0)
    inputs = keras.Input((2, 2, 1))
    first = layers.Conv2D(1, 1, use_bias=False, name="first")
    hidden = layers.Rescaling(1.0, offset=-(1 + 2.0**-11))(first(inputs))
    hidden = layers.Flatten()(layers.ReLU()(hidden))
    model = keras.Model(inputs, layers.Dense(1, name="last")(hidden))
    first.set_weights([np.full((1, 1, 1, 1), 1 + 2.0**-12)])
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    batches = [(np.full((BATCH, 2, 2, 1), 1 + 2.0**-12), np.ones((BATCH, 1)))]
    rounds = rounds_of(kt.record(model, batches, tmp_path / "run", steps=1, verbose=0), model)
    point = Part(rounds.scopes, "layer:first").vector(rounds.first)
    fast, slow = _objective(rounds, "layer:first"), Objective(rounds, _parts(rounds, "first"))
    found, expected = (
        each.answers({0: Multiply(point, point, precise)})[0]
        for each, precise in ((fast, False), (slow, True))
    )
    assert fast.is_on_features
    assert found[0]
    assert found == pytest.approx(expected, rel=1e-5)


def _parts(rounds, layer):
    return [Part(rounds.scopes, f"layer:{layer}")]


@pytest.mark.parametrize("is_exact", [True, False])
@pytest.mark.parametrize("loss", ["mse", _cross_entropy])
def test_optima_are_those_of_passes_through_the_model(tmp_path, monkeypatch, loss, is_exact):
    if not is_exact:
        monkeypatch.setattr(features, "EXACT_BYTES", 0)
    classes = None if loss == "mse" else 3
    make = (lambda: loss) if loss == "mse" else loss
    rounds = _recorded(tmp_path, _convolutions, make, classes)
    options = {"radius": 3.0, "tolerance": 1e-4, "verbose": 0}
    fast = kt.taylor_optimum(rounds.trajectory, rounds.model, "layer:second", **options)
    monkeypatch.setattr(driver, "features_of", lambda *arguments: None)
    slow = kt.taylor_optimum(rounds.trajectory, rounds.model, "layer:second", **options)
    assert fast.converged
    assert slow.converged
    assert fast.lower_bound <= slow.value
    assert slow.lower_bound <= fast.value


def test_features_that_disagree_with_the_model_are_not_used(tmp_path):
    rounds = _recorded(tmp_path, _convolutions, RootMeanSquare)
    for name in ("layer:second", "layer:last", "unit:last/1"):
        assert not _objective(rounds, name).is_on_features


@pytest.mark.parametrize(
    "layer",
    [
        layers.BatchNormalization,
        lambda: layers.Conv2D(2, 3, kernel_regularizer="l2"),
        lambda: layers.Conv2D(3, 3, groups=3),
    ],
)
def test_mixed_examples_penalties_and_groups_have_no_features(tmp_path, layer):
    rounds = _recorded(tmp_path, lambda: _convolutions(middle=[layer()]), lambda: "mse", rate=0.01)
    assert not _objective(rounds, "layer:first").is_on_features


def test_layers_that_are_frozen_in_part_go_through_the_model(tmp_path):
    def build():
        model = _convolutions()
        model.get_layer("second").bias.trainable = False
        model.get_layer("last").kernel.trainable = False
        return model

    rounds = _recorded(tmp_path, build, lambda: "mse")
    for name in ("layer:second", "layer:last"):
        assert not _objective(rounds, name).is_on_features
        found = kt.taylor_optimum(rounds.trajectory, rounds.model, name, verbose=0)
        assert found.converged


@pytest.mark.parametrize("kind", ["sizes", "lengths", "weights"])
def test_rounds_of_several_shapes_go_through_the_model(tmp_path, kind):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, 2))
    hidden = layers.Conv1D(3, 2, activation="tanh", name="first")(inputs)
    model = keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling1D()(hidden)))
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    generator = np.random.default_rng(0)
    sizes, lengths = ([4, 5, 6] if kind == name else [4] * 3 for name in ("sizes", "lengths"))
    batches = [
        (generator.normal(size=(n, length, 2)), generator.normal(size=(n, 1)))
        for n, length in zip(sizes, lengths, strict=True)
    ]
    if kind == "weights":
        batches[1] += (generator.uniform(0.5, 2, 4),)
    trajectory = kt.record(model, batches, tmp_path / "run", steps=3, verbose=0)
    for scope in ("layer:first", "units"):
        found = kt.taylor_optimum(trajectory, model, scope, tolerance=0.01, verbose=0)
        flat = [found] if scope != "units" else [one for each in found.values() for one in each]
        assert all(one.converged for one in flat)


def test_ctrl_c_while_features_are_collected_leaves_a_valid_interval(tmp_path, monkeypatch):
    rounds = _recorded(tmp_path, _dense, lambda: "mse")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(features, "collected", interrupted)
    found = kt.taylor_optimum(rounds.trajectory, rounds.model, "layer:late", verbose=0)
    assert found.reason == "interrupted"
    assert found.lower_bound < found.value < np.inf


def test_bounds_hold_where_inputs_have_a_large_mean(tmp_path):
    """Against the same loss in extended precision; sums of products of inputs would cancel."""
    generator = np.random.default_rng(0)
    x = (1000 + generator.normal(size=(10, 16, 8))).astype("float32")
    y = generator.normal(size=(10, 16, 1)).astype("float32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), layers.Dense(1, name="a")], name="net")
    model.compile(keras.optimizers.SGD(1e-9), loss="mse")
    batches = list(zip(x, y, strict=True))
    trajectory = kt.record(model, batches, tmp_path / "run", steps=10, verbose=0)
    options = {"radius": 1.0, "tolerance": 1e-6, "max_passes": 20, "verbose": 0}
    found = kt.taylor_optimum(trajectory, model, "unit:net/a/0", **options)
    kernel, bias = (one.astype(np.longdouble) for one in found.comparator)
    errors = x.reshape(-1, 8).astype(np.longdouble) @ kernel + bias - y.reshape(-1, 1)
    value = (errors**2).mean()
    assert found.value >= value
    # The allowance for rounding is relative to the losses of the rounds.
    assert float(found.value - value) <= 1e-11 * found.average_loss


def test_a_dead_unit_has_the_loss_of_its_first_weights(tmp_path):
    def build():
        model = _dense()
        model.get_layer("late").bias.assign([1.0, 1.0, -1e3, 1.0])
        return model

    rounds = _recorded(tmp_path, build, lambda: "mse")
    units = ["unit:late/1", "unit:late/2"]
    table = kt.decompose(rounds.trajectory, rounds.model, units, rounds=[ROUNDS], verbose=0)
    alive, dead = table.rows
    assert alive["radius"] > dead["radius"] == 0.0
    assert dead["optimum_upper"] == pytest.approx(dead["average_loss"], rel=1e-6)
    assert dead["optimum_lower"] == pytest.approx(dead["optimum_upper"], abs=1e-9)
