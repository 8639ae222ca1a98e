"""Tests of the ways to the losses of all units; that they are right is in test_losses."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

import keras_taylor as kt
from keras_taylor.taylor import unit_losses


@pytest.fixture
def prepared():
    inputs = keras.Input((6, 6, 2))
    x = layers.MaxPooling2D()(layers.Conv2D(4, 3, activation="relu", padding="same")(inputs))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    model.compile(loss="mse")
    generator = np.random.default_rng(0)
    comparator = [v.numpy() + generator.normal(size=v.shape) for v in model.trainable_variables]
    return model, generator.normal(size=(5, 6, 6, 2)), generator.normal(size=(5, 3)), comparator


def _assert_same(found, expected):
    for layer, values in expected.items():
        np.testing.assert_allclose(found[layer], values, rtol=1e-4)


@pytest.mark.parametrize("elements", [1, 2000, 2**24])
def test_chunks_of_any_length_give_the_same(prepared, monkeypatch, elements):
    expected = kt.taylor_loss(*prepared, scope="units")
    monkeypatch.setattr(unit_losses, "CHUNK_ELEMENTS", elements)
    _assert_same(kt.taylor_loss(*prepared, scope="units"), expected)


def test_many_outputs_take_the_other_way_to_the_same(prepared, monkeypatch):
    calls = []
    original = unit_losses._unit_by_unit
    monkeypatch.setattr(
        unit_losses, "_unit_by_unit", lambda *args: calls.append(args[3]) or original(*args)
    )
    expected = kt.taylor_loss(*prepared, scope="units")
    assert not calls
    monkeypatch.setattr(unit_losses, "FEW_OUTPUTS", 2)
    _assert_same(kt.taylor_loss(*prepared, scope="units"), expected)
    assert calls == list(expected)


def test_batch_normalization_mixes_examples_in_training_only(prepared, monkeypatch):
    calls = []
    original = unit_losses._unit_by_unit
    monkeypatch.setattr(
        unit_losses, "_unit_by_unit", lambda *args: calls.append(args[3]) or original(*args)
    )
    inputs = keras.Input((4,))
    hidden = layers.BatchNormalization(name="norm")(layers.Dense(3, name="first")(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="last")(hidden))
    model.compile(loss="mse")
    comparator = [v.numpy() + 0.1 for v in model.trainable_variables]
    x, y = np.random.default_rng(0).normal(size=(5, 4)), np.ones((5, 2))
    kt.taylor_loss(model, x, y, comparator, "units", training=False)
    assert calls == ["norm"]
    calls.clear()
    kt.taylor_loss(model, x, y, comparator, "units")
    assert calls == ["first", "norm", "last"]


@pytest.mark.parametrize(
    "dtypes", [("float64", "float64"), ("float16", "float16"), ("float64", "float32")], ids=str
)
@pytest.mark.parametrize("outputs", [2, unit_losses.FEW_OUTPUTS + 1])
def test_layers_of_other_dtypes_than_the_loss(dtypes, outputs):
    """Each unit is one comparator of the network, which differs from the weights in it alone."""
    hidden = layers.Dense(3, dtype=dtypes[0], kernel_regularizer="l2")
    model = keras.Sequential([keras.Input((4,)), hidden, layers.Dense(outputs, dtype=dtypes[1])])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(5, 4))
    y = np.zeros((5, outputs))
    weights = [keras.ops.convert_to_numpy(v).astype("float64") for v in model.trainable_variables]
    units = kt.taylor_loss(model, x, y, [w + 0.1 for w in weights], "units")
    for layer, values in enumerate(units.values()):
        for unit in (0, len(values) - 1):
            comparator = [w.copy() for w in weights]
            for w in comparator[2 * layer : 2 * layer + 2]:
                w[..., unit] += 0.1
            expected = float(kt.taylor_loss(model, x, y, comparator))
            tolerance = 5e-3 if "float16" in dtypes else 1e-5
            assert float(values[unit]) == pytest.approx(expected, rel=tolerance)


def _pair(layer):
    """Returns a function that makes a function from a tensor to a layer of it and of half."""
    return lambda: lambda x: layer()([x, layers.Rescaling(-0.5)(x)])


BEHIND_A_SEQUENCE = {
    "average_pooling": partial(layers.AveragePooling1D, 2),
    "cropping": partial(layers.Cropping1D, 1),
    "global_max": layers.GlobalMaxPooling1D,
    "max_pooling": partial(layers.MaxPooling1D, 2),
    "up_sampling": partial(layers.UpSampling1D, 2),
    "zero_padding": partial(layers.ZeroPadding1D, 1),
}
BEHIND_AN_IMAGE = {
    "average": _pair(layers.Average),
    "cropping": partial(layers.Cropping2D, 1),
    "elu": layers.ELU,
    "global_max": layers.GlobalMaxPooling2D,
    "identity": layers.Identity,
    "maximum": _pair(layers.Maximum),
    "minimum": _pair(layers.Minimum),
    "multiply": _pair(layers.Multiply),
    "permute": partial(layers.Permute, (2, 3, 1)),
    "rescaling": partial(layers.Rescaling, 2.0, offset=-0.5),
    "subtract": _pair(layers.Subtract),
    "up_sampling": partial(layers.UpSampling2D, 2),
    "zero_padding": partial(layers.ZeroPadding2D, 1),
}
BEHIND_A_VOLUME = {
    "average_pooling": partial(layers.AveragePooling3D, 2),
    "cropping": partial(layers.Cropping3D, 1),
    "global_average": layers.GlobalAveragePooling3D,
    "global_max": layers.GlobalMaxPooling3D,
    "max_pooling": partial(layers.MaxPooling3D, 2),
    "up_sampling": partial(layers.UpSampling3D, 2),
    "zero_padding": partial(layers.ZeroPadding3D, 1),
}
BEHIND_A_VECTOR = {"repeat_vector": partial(layers.RepeatVector, 2)}
CASES = [
    pytest.param(rank, make, id=f"{rank}-{name}")
    for rank, group in enumerate(
        (BEHIND_A_VECTOR, BEHIND_A_SEQUENCE, BEHIND_AN_IMAGE, BEHIND_A_VOLUME)
    )
    for name, make in group.items()
]


@pytest.mark.parametrize(("rank", "make"), CASES)
def test_layers_that_treat_each_example_by_itself_share_a_pass(rank, make, monkeypatch):
    """All of a layer's units by one pass are what each is by a product of its own."""
    inputs = keras.Input((4,) * rank + (2,))
    first = [layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D][rank]
    hidden = layers.Flatten()(make()(first(3, *([2] if rank else []), name="first")(inputs)))
    model = keras.Model(inputs, layers.Dense(2, name="last")(hidden))
    model.compile(loss="mse")
    generator = np.random.default_rng(0)
    comparator = [v.numpy() + generator.normal(size=v.shape) for v in model.trainable_variables]
    batch = generator.normal(size=(3, *inputs.shape[1:])), generator.normal(size=(3, 2))
    calls, original = [], unit_losses._unit_by_unit
    monkeypatch.setattr(
        unit_losses, "_unit_by_unit", lambda *args: calls.append(args[3]) or original(*args)
    )
    found = kt.taylor_loss(model, *batch, comparator, scope="units")
    assert not calls
    monkeypatch.setattr(unit_losses, "is_example_wise", lambda batch: False)
    _assert_same(found, kt.taylor_loss(model, *batch, comparator, scope="units"))
    assert calls == ["first", "last"]
