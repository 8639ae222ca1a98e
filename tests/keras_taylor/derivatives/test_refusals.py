"""Tests of layers that are refused by what they are, and of those that are not."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_taylor as kt


def _linear(mode):
    """Returns two linear layers, the second of which is quantized."""
    keras.utils.set_random_seed(0)
    first, second = layers.Dense(5, name="first"), layers.Dense(2, use_bias=False, name="second")
    model = keras.Sequential([keras.Input((6,)), first, second])
    second.quantize(mode)
    model.compile("sgd", loss="mse")
    return model, first, second


def _data():
    generator = np.random.default_rng(0)
    return [generator.normal(size=(8, n)).astype("float32") for n in (6, 2)]


@pytest.mark.parametrize("is_frozen", [False, True])
def test_float8_is_refused_with_its_reason_and_layer(is_frozen):
    model, _, second = _linear("float8")
    second.trainable = not is_frozen
    x, y = _data()
    weights = [v.numpy() for v in model.trainable_variables]
    with pytest.raises(ValueError, match="layer 'second' .* no Jacobian .*float8.*mixed_bfloat16"):
        kt.taylor_loss(model, x, y, weights)


def test_int8_is_expanded_by_the_straight_through_jacobian():
    model, first, second = _linear("int8")
    x, y = _data()
    moves = np.random.default_rng(1).normal(size=first.kernel.shape)
    weights = [v.numpy() for v in model.trainable_variables]
    weights[0] = weights[0] + moves
    kernel = second._kernel.numpy() / second.kernel_scale.numpy()
    expected = np.mean((y - model(x).numpy() - x @ moves @ kernel) ** 2)
    assert float(kt.taylor_loss(model, x, y, weights)) == pytest.approx(expected, rel=1e-4)


def _stateful(stateful=True):
    keras.utils.set_random_seed(0)
    recurrent = layers.SimpleRNN(3, stateful=stateful, name="memory")
    inputs = keras.Input(batch_shape=(8, 3, 2))
    model = keras.Model(inputs, layers.Dense(2)(recurrent(inputs)))
    model.compile("sgd", loss="mse")
    return model, recurrent


def test_a_stateful_layer_is_refused_in_training_by_name(tmp_path):
    x, y = _data()
    x = x.reshape(8, 3, 2)
    reason = "layer 'memory' .* is stateful: .*outside of `model.variables`.*stateful=False"
    with pytest.raises(ValueError, match=reason):
        kt.record(_stateful()[0], [(x, y)], tmp_path / "run", steps=1, verbose=0)
    assert not (tmp_path / "run").exists()
    model = kt.TaylorModel.from_model(_stateful()[0])
    model.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match=reason):
        model.fit(x, y, batch_size=8, verbose=0)
    plain, _ = _stateful(stateful=False)
    assert len(kt.record(plain, [(x, y)], tmp_path / "run", steps=1, verbose=0)) == 1


def test_a_stateful_layer_is_expanded_at_its_present_state():
    model, recurrent = _stateful()
    x, y = _data()
    x = x.reshape(8, 3, 2)
    model(x)
    before = np.array(recurrent.states[0])
    weights = [v.numpy() for v in model.trainable_variables]
    found = float(kt.taylor_loss(model, x, y, weights))
    np.testing.assert_array_equal(np.array(recurrent.states[0]), before)
    assert found == pytest.approx(model.test_on_batch(x, y), rel=1e-6)
    recurrent.reset_state()
    assert found != pytest.approx(float(kt.taylor_loss(model, x, y, weights)), rel=1e-3)
