"""Models that are easily got wrong: each against a double vector-product written out here."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_taylor as kt
from keras_taylor.derivatives import method

EXAMPLES = 6


def _data(shape=(4,), outputs=1):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(EXAMPLES, *shape)).astype("float32")
    return x, generator.normal(size=(EXAMPLES, outputs)).astype("float32")


def _near(model, distance=0.3):
    generator = np.random.default_rng(1)
    return [
        v.numpy() + distance * generator.normal(size=v.shape).astype("float32")
        for v in model.trainable_variables
    ]


def _model(build, shape=(4,), dtype=None):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape, dtype=dtype)
    model = keras.Model(inputs, build(inputs))
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    return model


def _reference(model, x, y, comparator, unit=None):
    """Returns the mean squared error at the expanded outputs."""
    weights = [tf.identity(v.value) for v in model.trainable_variables]
    state = [v.value for v in model.non_trainable_variables]
    steps = [v - w for v, w in zip(comparator, weights, strict=True)]
    steps = steps if unit is None else unit(steps)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(weights)
            outputs, _ = model.stateless_call(weights, state, x, training=True)
        upstream = tf.zeros_like(outputs)
        outer.watch(upstream)
        slopes = inner.gradient(outputs, weights, upstream)
        total = sum(tf.reduce_sum(a * b) for a, b in zip(slopes, steps, strict=True))
    return float(tf.reduce_mean((outputs + outer.gradient(total, upstream) - y) ** 2))


def _assert_fit_logs_the_reference(plain, x, y):
    comparator = _near(plain)
    expected = _reference(plain, x, y, comparator)
    model = kt.TaylorModel.from_model(plain, comparator)
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    history = model.fit(x, y, batch_size=EXAMPLES, verbose=0).history
    assert history["taylor_loss"][0] == pytest.approx(expected, rel=1e-4)


class Loops(layers.Layer):
    """A linear map within control flow, which has no forward mode in a graph."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], shape[-1]), initializer="glorot_normal")

    def call(self, x):
        def step(z):
            return ops.tanh(ops.matmul(z, self.w))

        if self.kind == "cond":
            return ops.cond(ops.sum(x) > -1e9, lambda: step(x), lambda: -step(x))
        if self.kind == "while_loop":
            return ops.while_loop(lambda i, z: i < 3, lambda i, z: (i + 1, step(z)), (0, x))[1]
        return ops.fori_loop(0, 3, lambda i, z: step(z), x)


@pytest.mark.parametrize(
    "kind", ["cond", "while_loop", pytest.param("fori_loop", marks=pytest.mark.slow)]
)
def test_control_flow_in_a_layer(kind):
    x, y = _data()
    plain = _model(lambda z: layers.Dense(1)(Loops(kind)(z)))
    _assert_fit_logs_the_reference(plain, x, y)


@pytest.mark.slow
def test_recurrent_layers_inside_of_others():
    x, y = _data((2, 3, 4), 1)
    plain = _model(
        lambda z: layers.Dense(1)(layers.Flatten()(layers.TimeDistributed(layers.SimpleRNN(2))(z))),
        (2, 3, 4),
    )
    _assert_fit_logs_the_reference(plain, x, y)


def test_masks_of_the_outputs_weight_the_loss():
    model = _model(
        lambda z: layers.Dense(1)(layers.Embedding(10, 4, mask_zero=True)(z)), (6,), "int32"
    )
    x = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 0, 0, 0, 0]])
    y = np.random.default_rng(0).normal(size=(2, 6, 1))
    weights = [v.numpy() for v in model.trainable_variables]
    expected = model.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(kt.taylor_loss(model, x, y, weights), expected, rtol=1e-5)


def test_masks_within_a_model_do_not_spoil_the_check():
    def build(z):
        z = layers.Embedding(10, 4, mask_zero=True)(z)
        return layers.Dense(1)(layers.GlobalAveragePooling1D()(z))

    model = _model(build, (6,), "int32")
    x = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 0, 0, 0, 0]])
    comparator, y = _near(model), np.ones((2, 1))
    np.testing.assert_allclose(
        kt.taylor_loss(model, x, y, comparator), _reference(model, x, y, comparator), rtol=1e-4
    )


@pytest.mark.parametrize("operator", [False, True])
def test_penalties_on_activities_stay_part_of_training(operator):
    def build(z):
        z = layers.Dense(4, activity_regularizer="l2")(z)
        return layers.Dense(1)(z * 2.0 if operator else z)

    x, y = _data()
    histories = []
    for wrap in (False, True):
        model = _model(build)
        if wrap:
            model = kt.TaylorModel.from_model(model, {"a": "initial", "b": "average"})
        model.compile(keras.optimizers.SGD(0.1), loss="mse")
        histories.append(model.fit(x, y, epochs=3, verbose=0).history["loss"])
    assert histories[0] == histories[1]


def test_inputs_by_name_keep_their_dtypes():
    ids, numbers = keras.Input((2,), dtype="int32", name="z"), keras.Input((2,), name="a")
    joined = layers.Concatenate()([layers.Flatten()(layers.Embedding(5, 2)(ids)), numbers])
    model = keras.Model([ids, numbers], layers.Dense(1)(joined))
    model.compile(loss="mse")
    generator = np.random.default_rng(0)
    x = {"z": generator.integers(0, 5, (4, 2)), "a": generator.normal(size=(4, 2))}
    y = np.ones((4, 1))
    weights = [v.numpy() for v in model.trainable_variables]
    expected = model.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(kt.taylor_loss(model, x, y, weights), expected, rtol=1e-5)


MIXING = {
    "activation_layer": lambda z: layers.Activation(lambda t: t - ops.mean(t, 0))(
        layers.Dense(3)(z)
    ),
    "activation": lambda z: layers.Dense(3, activation=lambda t: t - ops.mean(t, 0))(z),
    "softmax": lambda z: layers.Softmax(axis=0)(layers.Dense(3)(z)),
}


@pytest.mark.parametrize("build", MIXING.values(), ids=MIXING)
def test_units_of_models_that_mix_examples(build):
    x, y = _data()
    model = _model(lambda z: layers.Dense(1)(build(z)))
    comparator = _near(model)
    found = kt.taylor_loss(model, x, y, comparator, "units")
    first = next(iter(found.values()))

    def unit(steps):
        mask = np.arange(3) == 1
        return [steps[0] * mask, steps[1] * mask, steps[2] * 0, steps[3] * 0]

    assert float(first[1]) == pytest.approx(_reference(model, x, y, comparator, unit), rel=1e-4)


@pytest.mark.optimized_graphs
def test_a_call_of_ones_own_stays():
    x, y = _data()
    model = _model(lambda z: layers.Dense(1)(layers.Dense(3, name="own")(z)))
    layer = model.get_layer("own")
    original = layer.call
    layer.call = lambda z, training=None: original(z) * 2.0
    before = model(x).numpy()
    kt.taylor_loss(model, x, y, _near(model))
    np.testing.assert_array_equal(model(x), before)


def test_a_failed_check_changes_nothing():
    def build(z):
        z = layers.BatchNormalization()(layers.Conv2D(2, 3, padding="same")(z))
        return layers.Conv2D(1, 1)(layers.UpSampling2D(interpolation="bilinear", name="up")(z))

    model = _model(build, (4, 4, 2))
    before = [v.numpy() for v in model.variables]
    with pytest.raises(ValueError, match="layer 'up'"):
        kt.taylor_loss(model, np.ones((2, 4, 4, 2)), np.ones((2, 8, 8, 1)), _near(model))
    for one, other in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_threads_do_not_see_each_other():
    x, y = _data()
    model = _model(lambda z: layers.Dense(1, "tanh")(layers.Dense(3, "relu")(z)))
    comparator = _near(model)
    expected, outputs = float(kt.taylor_loss(model, x, y, comparator)), model(x).numpy()
    found, errors = [], []

    def work(of_taylor_loss):
        try:
            for _ in range(15):
                if of_taylor_loss:
                    found.append(float(kt.taylor_loss(model, x, y, comparator)))
                else:
                    np.testing.assert_array_equal(model(x), outputs)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n < 2,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert model.layers[1].activation is keras.activations.relu


def test_inputs_of_another_dtype_than_before():
    x, y = _data()
    model = kt.TaylorModel.from_model(_model(layers.Dense(1)))
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    first = model.train_on_batch(x, y)
    assert model.train_on_batch(x.astype("float64"), y) == pytest.approx(first)
    model.train_on_batch((x > 0).astype("uint8"), y)


def test_weights_travel_to_the_plain_model_and_back(tmp_path):
    x, y = _data()
    plain = _model(layers.Dense(1))
    model = kt.TaylorModel.from_model(_model(layers.Dense(1)))
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    model.fit(x, y, verbose=0)
    model.save_weights(tmp_path / "taylor.weights.h5")
    plain.load_weights(tmp_path / "taylor.weights.h5")
    np.testing.assert_array_equal(plain(x), model(x))
    plain.save_weights(tmp_path / "plain.weights.h5")
    model.load_weights(tmp_path / "plain.weights.h5")


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv1D(3, 2, padding="causal"),
        layers.Lambda(lambda t: ops.log(t)),
    ],
    ids=["causal", "logarithm"],
)
def test_layers_with_ways_of_their_own(layer):
    model = _model(lambda z: layers.Dense(1)(layers.Flatten()(layer(z))), (5, 4))
    x, y = np.abs(_data((5, 4))[0]) + 0.1, np.ones((EXAMPLES, 1))
    comparator = _near(model)
    expected = _reference(model, x, y, comparator)
    np.testing.assert_allclose(kt.taylor_loss(model, x, y, comparator), expected, rtol=1e-4)


def test_activation_with_weights_of_its_own():
    model = _model(lambda z: layers.Dense(1)(layers.Dense(3, activation=layers.PReLU())(z)))
    x, y = _data()
    model(x)
    comparator = _near(model)
    expected = _reference(model, x, y, comparator)
    np.testing.assert_allclose(kt.taylor_loss(model, x, y, comparator), expected, rtol=1e-4)


def test_tied_weights():
    encoder = layers.Dense(3, use_bias=False)

    def build(z):
        return layers.Lambda(lambda t: ops.matmul(t, ops.transpose(encoder.kernel)))(encoder(z))

    model = _model(build)
    x, y = _data(outputs=4)
    comparator = _near(model)
    expected = _reference(model, x, y, comparator)
    np.testing.assert_allclose(kt.taylor_loss(model, x, y, comparator), expected, rtol=1e-4)


def test_fixed_batch_size():
    inputs = keras.Input(batch_shape=(EXAMPLES, 4))
    outputs = layers.Lambda(lambda t: ops.reshape(t, (EXAMPLES, 3)))(layers.Dense(3)(inputs))
    model = keras.Model(inputs, outputs)
    x = ops.convert_to_tensor(_data()[0])
    assert method.method_of(model, x, True) == "layerwise"


def test_layers_frozen_before_the_first_round():
    x, y = _data()
    model = kt.TaylorModel.from_model(_model(lambda z: layers.Dense(1)(layers.Dense(3)(z))))
    model.layers[1].trainable = False
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    assert np.isfinite(model.fit(x, y, verbose=0).history["taylor_loss"]).all()
    model.layers[1].trainable = True
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    with pytest.raises(ValueError, match="changed after its first round"):
        model.fit(x, y, verbose=0)


def test_one_batch_that_is_no_number_does_not_spoil_the_average():
    x, y = _data()
    model = kt.TaylorModel.from_model(_model(layers.Dense(1)))
    model.compile(keras.optimizers.SGD(0.0), loss="mse", run_eagerly=True)
    bad = y.copy()
    bad[0] = np.nan
    x, bad = x.astype("float32"), bad.astype("float32")
    first = model.train_on_batch(x, y)
    weights = model.get_weights()
    model.train_on_batch(x, bad)
    model.set_weights(weights)
    model.train_on_batch(x, y)
    assert float(model.average_taylor_loss()) == pytest.approx(float(np.ravel(first)[0]))


def test_config_can_be_used_twice_and_knows_what_it_lacks():
    given = kt.TaylorModel.from_model(plain := _model(layers.Dense(1)), _near(plain))
    config = given.get_config()
    first, second = (kt.TaylorModel.from_config(config) for _ in range(2))
    assert first.count_params() == second.count_params()
    first.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match="arrays are not loaded"):
        first.fit(*_data(), verbose=0)


def test_functional_model_with_a_call_of_its_own_is_refused():
    class Doubled(keras.Model):
        def call(self, x):
            return 2.0 * super().call(x)

    inputs = keras.Input((4,))
    with pytest.raises(ValueError, match="neither functional nor Sequential"):
        kt.TaylorModel.from_model(Doubled(inputs, layers.Dense(1)(inputs)))


def test_radius_that_is_no_number():
    with pytest.raises(ValueError, match="radius must be a positive number"):
        kt.optimizers.RegretTracker("sgd", radius="3")
