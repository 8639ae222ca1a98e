"""Tests of the model: its logs against the function, and training as without it."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_taylor as kt

MODES = [{}, {"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 3}]
EXAMPLES, BATCH = 48, 16


def _dense(x):
    x = layers.BatchNormalization()(layers.Dense(8, "relu")(x))
    return layers.Dense(3, "softmax", kernel_regularizer="l2")(layers.Dropout(0.2)(x))


def _two_layers(x):
    return layers.Dense(3, "softmax")(layers.Dense(8, "relu")(x))


def _convolutional(x):
    x = layers.Reshape((4, 4, 2))(layers.Dense(32)(x))
    x = layers.MaxPooling2D()(layers.Conv2D(4, 3, padding="same", activation="relu")(x))
    return layers.Dense(3, "softmax")(layers.Flatten()(x))


def _recurrent(x):
    return layers.Dense(3, "softmax")(layers.SimpleRNN(4)(layers.Reshape((3, 2))(x)))


def _by_operators(x):
    x = layers.Dense(6, "relu")(x)
    return layers.Dense(3, "softmax")(x + layers.Dense(6, "relu")(x))


NETWORKS = {f.__name__: f for f in (_dense, _convolutional, _recurrent, _by_operators)}


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    return generator.normal(size=(EXAMPLES, 6)).astype("float32"), generator.integers(
        0, 3, EXAMPLES
    )


def _plain(build=_dense):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    return keras.Model(inputs, build(inputs))


def _compile(model, optimizer=None, **options):
    optimizer = optimizer or keras.optimizers.SGD(0.1, momentum=0.9)
    options = {"metrics": ["accuracy"]} | options
    model.compile(optimizer, loss="sparse_categorical_crossentropy", **options)
    return model


def _fit(model, data, epochs=2, **options):
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0} | options
    return model.fit(*data, epochs=epochs, **options).history


# The recurrent one is not compiled here; of modes that differ little, each has one network.
CELLS = [
    *((network, {}) for network in NETWORKS),
    ("_dense", {"jit_compile": True}),
    ("_by_operators", {"run_eagerly": True}),
    ("_dense", {"steps_per_execution": 3}),
]


@pytest.mark.optimized_graphs
@pytest.mark.parametrize(("network", "mode"), CELLS, ids=str)
def test_training_is_that_of_the_plain_model_to_the_bit(data, network, mode):
    build = NETWORKS[network]
    plain = _compile(_plain(build), **mode)
    expected = _fit(plain, data)
    model = _compile(kt.TaylorModel.from_model(_plain(build), "average"), **mode)
    history = _fit(model, data)
    assert set(history) == set(expected) | {"taylor_loss", "taylor_regret"}
    for one, other in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for name, values in expected.items():
        np.testing.assert_array_equal(values, history[name])


@pytest.mark.optimized_graphs
def test_evaluating_and_predicting_are_those_of_the_plain_model(data):
    plain = _compile(_plain())
    model = _compile(kt.TaylorModel.from_model(_plain(), "average"))
    options = {"verbose": 0, "return_dict": True}
    assert plain.evaluate(*data, **options) == model.evaluate(*data, **options)
    np.testing.assert_array_equal(
        plain.predict(data[0], verbose=0), model.predict(data[0], verbose=0)
    )


@pytest.mark.parametrize(
    "network",
    # Logs of recurrent layers are also held against a reference in test_unusual_models.
    [
        *(n for n in NETWORKS if n != "_recurrent"),
        pytest.param("_recurrent", marks=pytest.mark.slow),
    ],
)
def test_logs_are_those_of_the_function(data, network):
    build = NETWORKS[network]
    given = [w + 0.1 for w in [v.numpy() for v in _plain(build).trainable_variables]]
    model = _compile(kt.TaylorModel.from_model(_plain(build), {"start": "initial", "mine": given}))
    plain = _compile(_plain(build))
    first = [v.numpy() for v in plain.trainable_variables]
    expected, losses = {"start": [], "mine": []}, []
    for start in range(0, EXAMPLES, BATCH):
        batch = tuple(array[start : start + BATCH] for array in data)
        for name, comparator in (("start", first), ("mine", given)):
            expected[name].append(float(kt.taylor_loss(plain, *batch, comparator)))
        losses.append(plain.train_on_batch(*batch, return_dict=True)["loss"])
        plain.reset_metrics()
    history = _fit(model, data, epochs=1)
    for name, values in expected.items():
        np.testing.assert_allclose(history[f"taylor_loss_{name}"][0], np.mean(values), rtol=1e-4)
        np.testing.assert_allclose(model.average_taylor_loss(name), np.mean(values), rtol=1e-4)
        np.testing.assert_allclose(
            history[f"taylor_loss_{name}"][0] + history[f"taylor_regret_{name}"][0],
            history["loss"][0],
            rtol=1e-5,
        )
    np.testing.assert_allclose(history["loss"][0], np.mean(losses), rtol=1e-5)


@pytest.mark.optimizer_built_in_fit
def test_average_is_the_running_mean_of_the_iterates(data):
    model = _compile(kt.TaylorModel.from_model(_plain(), "average"))
    seen = []
    keep = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(
            [v.numpy() for v in model.trainable_variables]
        )
    )
    _fit(model, data, epochs=1, callbacks=[keep])
    means = [np.mean(arrays, axis=0) for arrays in zip(*seen, strict=True)]
    kept = model._comparison._comparators[""].variables
    for mean, variable in zip(means, kept, strict=True):
        np.testing.assert_allclose(variable, mean, rtol=1e-5, atol=1e-6)


def test_regret_is_at_most_linear_regret_for_a_comparator_in_the_ball(data):
    tracker = kt.optimizers.RegretTracker(keras.optimizers.Adam(0.01))
    metrics = [kt.metrics.LinearRegret(tracker)]
    model = _compile(kt.TaylorModel.from_model(_plain(), "initial"), tracker, metrics=metrics)
    history = _fit(model, data, epochs=1)
    assert history["taylor_regret"][0] <= history["average_linear_regret"][0]


def test_sample_and_class_weights(data):
    weights = np.linspace(0, 2, EXAMPLES)
    plain, model = _compile(_plain()), _compile(kt.TaylorModel.from_model(_plain()))
    options = {"sample_weight": weights}
    assert _fit(plain, data, **options)["loss"] == _fit(model, data, **options)["loss"]
    history = _fit(model, data, class_weight={0: 1.0, 1: 2.0, 2: 0.5})
    total = np.add(history["taylor_loss"], history["taylor_regret"])
    np.testing.assert_allclose(total, history["loss"], rtol=1e-5)


@pytest.mark.optimized_graphs
def test_gradient_accumulation_and_mixed_precision(data):
    def optimizer():
        return keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)

    keras.config.set_dtype_policy("mixed_float16")
    try:
        plain = _compile(_plain(_two_layers), optimizer())
        model = _compile(kt.TaylorModel.from_model(_plain(_two_layers)), optimizer())
        history = _fit(model, data)
        assert _fit(plain, data)["loss"] == history["loss"]
        assert np.isfinite(history["taylor_loss"]).all()
    finally:
        keras.config.set_dtype_policy("float32")


def test_saving_and_continuing_equals_not_stopping(data, tmp_path):
    plain = _plain(_two_layers)
    given = [v.numpy() * 0.5 for v in plain.trainable_variables]
    kinds = {"start": "initial", "mean": "average", "mine": given}
    model = _compile(kt.TaylorModel.from_model(plain, kinds))
    _fit(model, data, epochs=1)
    model.save(tmp_path / "model.keras")
    whole = _fit(model, data, epochs=1)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert _fit(loaded, data, epochs=1) == whole
    assert float(loaded.average_taylor_loss("mine")) == float(model.average_taylor_loss("mine"))


def test_tracking_starts_anew_after_a_burn_in(data):
    model = _compile(kt.TaylorModel.from_model(_plain(_two_layers), "initial"))
    _fit(model, data, epochs=1)
    model.start_tracking()
    assert np.isnan(model.average_taylor_loss())
    weights = [v.numpy() for v in model.trainable_variables]
    expected = float(kt.taylor_loss(model, data[0][:16], data[1][:16], weights))
    # Before Keras 3.15, `train_on_batch` goes on with the means of `fit`.
    model.reset_metrics()
    loss = model.train_on_batch(data[0][:16], data[1][:16], return_dict=True)
    np.testing.assert_allclose(model.average_taylor_loss(), expected, rtol=1e-5)
    assert loss["taylor_regret"] == pytest.approx(0.0, abs=1e-5)


@pytest.mark.optimized_graphs
def test_weights_are_those_of_the_plain_model():
    plain = _plain()
    model = kt.TaylorModel.from_model(plain)
    assert [v.path for v in model.weights] == [v.path for v in plain.weights]


def test_sequential_models_and_constructor(data):
    sequential = keras.Sequential([keras.Input((6,)), layers.Dense(3, "softmax")])
    assert "taylor_loss" in _fit(_compile(kt.TaylorModel.from_model(sequential)), data)
    inputs = keras.Input((6,))
    model = kt.TaylorModel(inputs, layers.Dense(3, "softmax")(inputs), comparator="average")
    assert "taylor_loss" in _fit(_compile(model), data)


def test_memory_does_not_grow_with_the_steps(data):
    model = _compile(kt.TaylorModel.from_model(_plain(), "average"))
    _fit(model, data, epochs=1)
    before = sum(np.asarray(v).nbytes for v in model._comparison.variables())
    _fit(model, data, epochs=3)
    assert sum(np.asarray(v).nbytes for v in model._comparison.variables()) == before


class TestBadInput:
    """Mistakes are told, with what was expected."""

    def test_comparators(self):
        plain = _plain()
        for comparator, message in (
            ("first", "unknown comparator 'first'.*'initial', 'average'"),
            ([np.zeros(3)], "expected shapes"),
            ([v.numpy() * np.nan for v in plain.trainable_variables], "not finite"),
            ([np.zeros(v.shape, int) for v in plain.trainable_variables], "dtype int"),
            ({}, "empty dictionary"),
        ):
            with pytest.raises(ValueError, match=message):
                kt.TaylorModel.from_model(plain, comparator)
        with pytest.raises(ValueError, match="unknown comparator 'mine'"):
            kt.TaylorModel.from_model(plain).average_taylor_loss("mine")

    def test_models(self):
        class Own(keras.Model):
            def call(self, x):
                return x

        with pytest.raises(ValueError, match="neither functional nor Sequential"):
            kt.TaylorModel.from_model(Own())
        with pytest.raises(ValueError, match="not built"):
            kt.TaylorModel.from_model(keras.Sequential([layers.Dense(2)]))

    def test_wrong_derivatives_name_the_layer(self):
        inputs = keras.Input((4, 4, 2))
        x = layers.Conv2D(2, 3, padding="same")(inputs)
        for skip in (False, True):
            y = layers.UpSampling2D(interpolation="bilinear", name=f"resize_{skip}")(x)
            y = layers.Add()([y, layers.UpSampling2D()(x)]) if skip else y
            model = kt.TaylorModel(inputs, layers.Conv2D(1, 1)(y))
            model.compile(loss="mse")
            with pytest.raises(ValueError, match=f"layer 'resize_{skip}'"):
                model.fit(np.ones((2, 4, 4, 2)), np.ones((2, 8, 8, 1)), verbose=0)
