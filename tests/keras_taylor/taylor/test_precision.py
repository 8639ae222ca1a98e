"""Tests of models and losses in float64."""

import threading

import cases
import keras
import numpy as np
import pytest
from keras import layers

from keras_taylor.taylor import precision
from keras_taylor.taylor.precision import WideLoss, widened

MODELS = [name for name in cases.MODELS if name != "transformer"]


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("name", MODELS)
def test_copies_compute_the_same_in_float64(name, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = cases.MODELS[name]()
    finally:
        keras.config.set_dtype_policy("float32")
    copy = widened(model)
    assert {v.dtype for v in copy.trainable_variables} == {"float64"}
    x = cases.data(model)[0]
    values = [
        [np.asarray(v.value, "float64") for v in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]
    found, _ = copy.stateless_call(*values, x)
    assert found.dtype == "float64"
    expected = np.asarray(model(x), "float64")
    tolerance = 1e-5 if policy == "float32" else 2e-2
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert widened(model) is copy, "it is made once"


def test_integer_inputs_stay_integer():
    inputs = keras.Input((5,), dtype="int32")
    outputs = layers.Dense(2)(layers.Flatten()(layers.Embedding(7, 3)(inputs)))
    copy = widened(keras.Model(inputs, outputs))
    assert copy.inputs[0].dtype == "int32"
    assert copy.outputs[0].dtype == "float64"


@pytest.mark.usefixtures("float64")
def test_a_float64_model_is_its_own_copy():
    model = cases.mlp()
    assert widened(model) is model


def test_models_that_cannot_be_read_back_have_no_copy():
    class Own(keras.Model):
        def __init__(self, dense):
            super().__init__()
            self.dense = dense

        def call(self, x):
            return self.dense(x)

    model = Own(layers.Dense(2))
    model(np.ones((1, 3)))
    assert widened(model) is None


def test_settings_of_keras_are_as_they_were():
    widened(cases.mlp())
    assert keras.config.floatx() == "float32"
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("name", cases.LOSSES)
def test_losses_are_those_in_numpy(name):
    build, per_example = cases.LOSSES[name]
    with precision.floatx("float64"):
        wide = WideLoss(build())
    generator = np.random.default_rng(0)
    y, f = np.eye(3)[generator.integers(0, 3, 5)], generator.normal(size=(5, 3))
    np.testing.assert_allclose(wide(y, f), per_example(y, f).mean(), rtol=1e-7)


def test_models_that_draw_random_numbers_have_no_copy():
    assert widened(cases.transformer()) is None


def test_a_frozen_layer_makes_another_copy():
    model = cases.mlp()
    before = widened(model)
    model.layers[1].trainable = False
    after = widened(model)
    assert after is not before
    assert len(after.trainable_variables) == 2


def test_a_subclass_with_its_own_call_has_no_copy_of_the_graph():
    class Doubled(keras.Model):
        def call(self, x, training=False):
            return 2 * super().call(x, training=training)

    inputs = keras.Input((3,))
    assert widened(Doubled(inputs, layers.Dense(2)(inputs))) is None


def test_threads_that_set_the_dtype_leave_it_as_it_was():
    entered, may_end = threading.Event(), threading.Event()

    def hold():
        with precision.floatx("float64"):
            entered.set()
            may_end.wait()

    def set_again():
        with precision.floatx("float16"):
            pass

    first, second = threading.Thread(target=hold), threading.Thread(target=set_again)
    first.start()
    entered.wait()
    second.start()
    second.join(0.1)
    assert second.is_alive(), "a second thread waits"
    may_end.set()
    first.join()
    second.join()
    assert keras.config.floatx() == "float32"
