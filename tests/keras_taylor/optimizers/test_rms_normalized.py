"""Tests of RMS normalisation as a wrapper."""

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.optimizers import RegretTracker, RMSNormalized

SGD = keras.optimizers.SGD


def _model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    hidden = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="deep")(inputs)
    hidden = keras.layers.Conv2D(3, 2, activation="relu", name="conv")(hidden)
    hidden = keras.layers.Flatten()(hidden)
    return keras.Model(inputs, keras.layers.Dense(2, name="last")(hidden))


def _data(steps=6):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(8 * steps, 6, 6, 2)).astype("float32")
    return x, generator.normal(size=(8 * steps, 2)).astype("float32")


def _trained(optimizer, **options):
    model = _model()
    model.compile(optimizer, loss="mse", **options)
    model.fit(*_data(), batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


@pytest.fixture(scope="module")
def plain():
    """Weights after training with RMS normalisation alone."""
    return _trained(RMSNormalized(SGD(0.01)))


@pytest.mark.parametrize(
    "options", [{}, {"jit_compile": True}, {"run_eagerly": True}], ids=["graph", "xla", "eager"]
)
def test_around_sgd_it_is_rmsprop(options):
    ours = _trained(RMSNormalized(SGD(0.01), rho=0.9, epsilon=1e-7), **options)
    keras_own = _trained(keras.optimizers.RMSprop(0.01, rho=0.9, epsilon=1e-7), **options)
    for one, other in zip(ours, keras_own, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def _reference(granularity, gradients, rho=0.8, epsilon=1e-3):
    """Normalises a list of rounds of the gradients of one dense layer, in plain NumPy."""
    kernel_mean = bias_mean = 0.0
    for kernel, bias in gradients:
        if granularity == "weight":
            squares = kernel**2, bias**2
        elif granularity == "unit":
            squares = [(np.sum(kernel**2, 0) + bias**2) / (len(kernel) + 1)] * 2
        else:
            count = kernel.size + bias.size
            squares = [(np.sum(kernel**2) + np.sum(bias**2)) / count] * 2
        kernel_mean = rho * kernel_mean + (1 - rho) * squares[0]
        bias_mean = rho * bias_mean + (1 - rho) * squares[1]
        yield kernel / np.sqrt(kernel_mean + epsilon), bias / np.sqrt(bias_mean + epsilon)


@pytest.mark.parametrize("granularity", ["weight", "unit", "layer"])
def test_each_granularity_matches_numpy(granularity):
    generator = np.random.default_rng(1)
    gradients = [
        tuple(generator.normal(size=shape).astype("float32") for shape in ((3, 2), (2,)))
        for _ in range(4)
    ]
    layer = keras.layers.Dense(2, kernel_initializer="zeros")
    layer.build((None, 3))
    variables = layer.trainable_variables
    optimizer = RMSNormalized(SGD(1.0), rho=0.8, epsilon=1e-3, granularity=granularity)
    expected = [0.0, 0.0]
    for pair, normalised in zip(gradients, _reference(granularity, gradients), strict=True):
        optimizer.apply(pair, variables)
        expected = [e - n for e, n in zip(expected, normalised, strict=True)]
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-5)


@pytest.mark.parametrize("granularity", ["unit", "layer"])
def test_convolutions_match_numpy(granularity):
    """A unit of the depthwise layer is an index of the last two axes, of the others of the last."""
    model, generator = _model(), np.random.default_rng(2)
    before = [w.astype("float64") for w in model.get_weights()]
    gradients = [generator.normal(size=w.shape) for w in before]
    RMSNormalized(SGD(1.0), rho=0.8, epsilon=1e-3, granularity=granularity).apply(
        [g.astype("float32") for g in gradients], model.trainable_variables
    )
    for index in range(0, len(before), 2):
        units = before[index + 1].size
        matrix = np.vstack([g.reshape(-1, units) for g in gradients[index : index + 2]])
        mean = np.mean(matrix**2, axis=0 if granularity == "unit" else None, keepdims=True)
        normalised = matrix / np.sqrt(0.2 * mean + 1e-3)
        expected = np.vstack([w.reshape(-1, units) for w in before[index : index + 2]]) - normalised
        found = [w.reshape(-1, units) for w in model.get_weights()[index : index + 2]]
        np.testing.assert_allclose(np.vstack(found), expected, rtol=1e-4, atol=1e-5)


def test_steps_do_not_depend_on_the_size_of_gradients():
    for granularity in ("weight", "unit", "layer"):
        moves = []
        for size in (1.0, 1e3):
            weights = keras.Variable(np.zeros((2, 2)), dtype="float32")
            optimizer = RMSNormalized(SGD(0.1), granularity=granularity)
            optimizer.apply([np.array([[1.0, 2.0], [3.0, 4.0]], "float32") * size], [weights])
            moves.append(weights.numpy())
        np.testing.assert_allclose(*moves, rtol=1e-5)


@pytest.mark.optimized_graphs
def test_a_tracker_around_it_changes_nothing_and_sees_raw_gradients(plain):
    tracker = RegretTracker(RMSNormalized(SGD(0.01)))
    for one, other in zip(_trained(tracker), plain, strict=True):
        np.testing.assert_array_equal(one, other)
    raw = RegretTracker(keras.optimizers.RMSprop(0.01, epsilon=1e-7))
    _trained(raw)
    assert float(tracker.linear_regret()) == pytest.approx(float(raw.linear_regret()), rel=1e-3)


@pytest.mark.optimized_graphs
def test_it_goes_around_a_tracker_too(plain):
    tracker, model = RegretTracker(SGD(0.01)), _model()
    model.compile(RMSNormalized(tracker), loss="mse")
    options = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
    losses = model.fit(*_data(), **options).history["loss"]
    for one, other in zip(model.get_weights(), plain, strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(tracker.steps) == 12
    assert float(tracker.average_loss) == pytest.approx(np.mean(losses), rel=1e-6)


@pytest.mark.parametrize("granularity", ["weight", "unit", "layer"])
def test_saving_and_going_on(tmp_path, granularity):
    x, y = _data()
    whole, first = _model(), _model()
    for model in (whole, first):
        optimizer = RMSNormalized(SGD(0.01, momentum=0.9), granularity=granularity)
        model.compile(optimizer, loss="mse")
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    first.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.optimizer.granularity == granularity
    for model in (whole, again):
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for one, other in zip(again.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_under_a_loss_scale():
    plain = _trained(RMSNormalized(SGD(0.01), granularity="unit"))
    scaled = _trained(
        keras.mixed_precision.LossScaleOptimizer(
            RMSNormalized(SGD(0.01), granularity="unit"), initial_scale=2.0**8
        )
    )
    for one, other in zip(scaled, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_missing_gradients_stay_missing():
    variables = [keras.Variable(np.ones((2, 2), "float32"), name=name) for name in ("a", "b")]
    optimizer = RMSNormalized(SGD(0.1), granularity="unit")
    optimizer.build(variables)
    optimizer.apply([np.ones((2, 2), "float32"), None], variables)
    np.testing.assert_array_equal(variables[1], np.ones((2, 2)))
    assert (variables[0].numpy() < 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"granularity": "filter"}, "unknown granularity 'filter'.*weight, unit, layer"),
        ({"rho": 1.0}, "rho must be"),
        ({"rho": -0.1}, "rho must be"),
        ({"epsilon": 0.0}, "epsilon must be"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        RMSNormalized(SGD(0.1), **options)


def test_it_cannot_wrap_itself():
    with pytest.raises(ValueError, match="cannot wrap another"):
        RMSNormalized(RegretTracker(RMSNormalized(SGD(0.1))))


def test_it_is_public():
    assert kt.optimizers.RMSNormalized is RMSNormalized
