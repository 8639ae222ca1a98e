"""Tests of layers that change after they were made: LoRA, and flags of single layers."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_taylor as kt
from keras_taylor.taylor.precision import widened

LAYERS = {
    "dense": (lambda: layers.Dense(3, name="b"), (4,)),
    "einsum": (lambda: layers.EinsumDense("ab,bc->ac", 3, name="b"), (4,)),
    "embedding": (lambda: layers.Embedding(5, 3, name="b"), ()),
}


def _with_lora(kind):
    keras.utils.set_random_seed(0)
    build, shape = LAYERS[kind]
    layer, dtype = build(), None if shape else "int32"
    model = keras.Sequential([keras.Input(shape, dtype=dtype), layer], name="net")
    layer.enable_lora(2)
    generator = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(size=variable.shape))
    model.compile("sgd", "mse")
    return model, np.ones((2, *shape))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", LAYERS)
def test_weights_of_several_dtypes_are_expanded(kind):
    """LoRA's are float32 inside of a float64 layer; against a central difference."""
    model, x = _with_lora(kind)
    weights = [variable.numpy() for variable in model.trainable_variables]
    assert {weight.dtype.name for weight in weights} >= {"float32"}
    # Outputs are quadratic in the weights, so that a difference of any length is exact.
    y, step = np.ones((2, 3)), 0.25

    def outputs(scale):
        for variable, weight in zip(model.trainable_variables, weights, strict=True):
            variable.assign(weight * (1 - scale))
        return np.asarray(model(x))

    tangent = (outputs(step) - outputs(-step)) / (2 * step)
    expected = np.mean((outputs(0.0) + tangent - y) ** 2)
    found = kt.taylor_loss(model, x, y, [0 * weight for weight in weights])
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.filterwarnings("error:.*copy in float64")
@pytest.mark.parametrize("scope", ["network", "layers"])
def test_the_optimum_of_a_model_with_lora_is_certified_in_float64(tmp_path, scope):
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(8, 16, 6)), generator.integers(0, 3, (8, 16))
    stack = [keras.Input((6,)), layers.Dense(5, "relu", name="a"), layers.Dense(3, name="b")]
    model = keras.Sequential(stack, name="net")
    for layer in model.layers:
        layer.enable_lora(2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss)
    batches = list(zip(x, y, strict=True))
    trajectory = kt.record(model, batches, tmp_path / "run", steps=8, verbose=0)
    found = kt.taylor_optimum(trajectory, model, scope, tolerance=1e-3, verbose=0)
    for optimum in found.values() if scope == "layers" else [found]:
        assert optimum.converged
        assert optimum.lower_bound <= optimum.value <= optimum.average_loss * 1.1
    assert {v.dtype for v in widened(model).trainable_variables} == {"float64"}


def test_a_copy_scales_lora_as_its_model():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="a")], name="net")
    model.layers[0].enable_lora(2, lora_alpha=10.0)
    for variable in model.trainable_variables:
        variable.assign(np.full(variable.shape, 0.5))
    read_back = keras.models.clone_model(model)
    assert read_back.layers[0].lora_enabled
    x = np.ones((2, 4))
    values = [[np.asarray(v, "float64") for v in vs] for vs in _values(model)]
    found, _ = widened(model).stateless_call(*values, x)
    np.testing.assert_allclose(found, model(x), rtol=1e-5)


def _nested():
    inputs = keras.Input((4,))
    hidden = layers.BatchNormalization(name="norm")(layers.Dense(5, "relu", name="one")(inputs))
    backbone = keras.Model(inputs, layers.Dense(3, name="two")(hidden), name="backbone")
    outer = keras.Input((4,))
    return backbone, keras.Model(outer, layers.Dense(2, name="head")(backbone(outer)))


@pytest.mark.parametrize(
    "frozen", [("backbone",), ("one",), ("norm",), ("one", "norm"), ("backbone", "two"), ("bias",)]
)
def test_a_copy_has_the_flags_of_each_layer(frozen):
    backbone, model = _nested()
    for name in frozen:
        if name == "backbone":
            backbone.trainable = False
        elif name == "bias":
            backbone.get_layer("one").bias.trainable = False
        else:
            # Within a frozen backbone, one that is trained again.
            layer = backbone.get_layer(name)
            layer.trainable = "backbone" in frozen
    copy = widened(model)
    for kind in ("trainable_variables", "non_trainable_variables"):
        names, expected = ([v.path for v in getattr(m, kind)] for m in (copy, model))
        assert [name.split("/")[-2:] for name in names] == [n.split("/")[-2:] for n in expected]
    x = np.random.default_rng(0).normal(size=(3, 4))
    values = [[np.asarray(v, "float64") for v in vs] for vs in _values(model)]
    found, _ = copy.stateless_call(*values, x)
    np.testing.assert_allclose(found, model(x), rtol=1e-4, atol=1e-5)


def _values(model):
    return model.trainable_variables, model.non_trainable_variables


@keras.saving.register_keras_serializable("changed_layers")
class Tied(layers.Layer):
    """Multiplies by the transposed table of an embedding."""

    def __init__(self, embedding, **options):
        super().__init__(**options)
        self.embedding = embedding

    def call(self, x):
        return keras.ops.matmul(x, keras.ops.transpose(self.embedding.embeddings))

    def get_config(self):
        embedding = keras.saving.serialize_keras_object(self.embedding)
        return super().get_config() | {"embedding": embedding}

    @classmethod
    def from_config(cls, config):
        embedding = keras.saving.deserialize_keras_object(config["embedding"])
        return cls(**(config | {"embedding": embedding}))


def test_a_copy_that_unties_weights_is_not_used():
    inputs, embedding = keras.Input((3,), dtype="int32"), layers.Embedding(7, 4, name="table")
    hidden = layers.GlobalAveragePooling1D()(embedding(inputs))
    model = keras.Model(inputs, Tied(embedding, name="tied")(hidden))
    assert len(model.trainable_variables) == 1
    assert widened(model) is None
