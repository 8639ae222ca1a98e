"""Tests of what all optimizer wrappers share, on one that does nothing."""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_taylor.optimizers.wrapper import OptimizerWrapper, wrapped


class Identity(OptimizerWrapper):
    """Hands gradients on as they are."""

    def before_update(self, gradients, variables):
        return gradients


def _built(inner, variables=None):
    optimizer = Identity(inner)
    optimizer.build([keras.Variable(np.ones(2), name="v")] if variables is None else variables)
    return optimizer


def test_learning_rate_is_that_of_the_inner_optimizer():
    inner = keras.optimizers.SGD(0.1)
    optimizer = Identity(inner)
    optimizer.learning_rate = 0.5
    assert float(inner.learning_rate) == float(optimizer.learning_rate) == 0.5


def test_schedule_advances():
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.5)
    optimizer = _built(keras.optimizers.SGD(schedule))
    (variable,) = optimizer._trainable_variables
    for _ in range(3):
        optimizer.apply([np.ones(2)])
    np.testing.assert_allclose(variable, 1 - 1.75 * np.ones(2))
    assert int(optimizer.iterations) == 3


def test_loss_scaling_is_that_of_the_inner_optimizer():
    optimizer = Identity(keras.optimizers.SGD(0.1, loss_scale_factor=8.0))
    assert float(optimizer.scale_loss(2.0)) == 16.0
    optimizer.loss_scale_factor = 4.0
    assert optimizer.inner_optimizer.loss_scale_factor == optimizer.loss_scale_factor == 4.0


def test_exclusions_from_weight_decay_reach_the_inner_optimizer():
    variable = keras.Variable(np.ones(2), name="bias")
    optimizer = Identity(keras.optimizers.SGD(0.1, weight_decay=0.5))
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build([variable])
    optimizer.apply([np.zeros(2)])
    np.testing.assert_array_equal(variable, np.ones(2))


def test_weights_include_those_of_the_inner_optimizer():
    first, second = (_built(keras.optimizers.SGD(0.1, momentum=0.9)) for _ in range(2))
    first.apply([np.ones(2)])
    second.set_weights([variable.numpy() for variable in first.variables])
    for one, other in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_state_of_another_shape_or_an_unbuilt_optimizer_is_refused():
    optimizer = _built(keras.optimizers.Adam())
    with pytest.raises(ValueError, match="the given weights have 1 variables"):
        optimizer.set_weights([np.zeros(())])
    with pytest.raises(ValueError, match="not built"):
        Identity("adam").set_weights([np.zeros(())])


def test_config_round_trip_leaves_the_config_alone():
    inner = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.5))
    config = Identity(inner, name="mine").get_config()
    before = str(config)
    again = Identity.from_config(config)
    assert str(config) == before
    assert again.name == "mine"
    assert again.get_config() == config


def test_optimizers_are_accepted_by_name():
    assert isinstance(Identity("rmsprop").inner_optimizer, keras.optimizers.RMSprop)


def test_wrapper_inside_a_wrapper_is_refused():
    with pytest.raises(ValueError, match="cannot wrap another Identity"):
        Identity(Identity("sgd"))


def test_loss_scale_optimizer_belongs_outside():
    with pytest.raises(ValueError, match=r"LossScaled\(Identity"):
        Identity(keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD()))


def test_wrapped_goes_all_the_way_in():
    inner = keras.optimizers.SGD()
    wrapper = Identity(inner)
    outer = keras.mixed_precision.LossScaleOptimizer(wrapper)
    assert list(wrapped(outer)) == [outer, wrapper, inner]


def test_no_gradients_are_no_step():
    optimizer = _built(keras.optimizers.SGD())
    optimizer.apply([])
    assert int(optimizer.iterations) == 0


def test_mistakes_in_calls_are_told():
    with pytest.raises(ValueError, match="before it was built"):
        Identity("sgd").apply([np.ones(2)])
    optimizer = _built(keras.optimizers.SGD())
    with pytest.raises(ValueError, match="2 gradients for 1 variables"):
        optimizer.apply([np.ones(2), np.ones(2)])
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply([np.ones(2)], [keras.Variable(np.ones(2))])


def test_autograph_does_not_convert_it():
    seen = []

    class Looking(OptimizerWrapper):
        def before_update(self, gradients, variables):
            seen.append(cases.is_converted())
            return gradients

    variable = keras.Variable(np.ones(3))
    optimizer = Looking("sgd")
    optimizer.build([variable])
    tf.function(optimizer.apply)([tf.ones(3)])
    assert seen
    assert not any(seen)
