"""A TaylorModel trains by a compute_loss of one's own, and expands it."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_taylor as kt

X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(24, 2)).astype("float32")


@keras.saving.register_keras_serializable(package="tests")
class Own(keras.Model):
    """Adds terms of a weight and of the outputs."""

    convex_in_output = True

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        compiled = super().compute_loss(x, y, y_pred, sample_weight)
        decay = ops.sum(self.layers[-1].kernel ** 2)
        return compiled + 0.1 * decay + 0.01 * ops.mean(ops.abs(y_pred))


class OwnTaylorModel(kt.TaylorModel):
    """Reads what its optimizer counts."""

    convex_in_output = True

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        steps = ops.cast(self.optimizer.iterations, "float32")
        return (1.0 + steps) * super().compute_loss(x, y, y_pred, sample_weight, training)


def _model(kind=Own):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    h = layers.Dropout(0.5)(layers.Dense(5, "relu", kernel_regularizer="l2")(inputs))
    return kind(inputs, layers.Dense(2)(h))


def _fit(model, epochs=3, **options):
    model.compile(keras.optimizers.SGD(0.05), "mse", **options)
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, "epochs": epochs}
    return model.fit(X, Y, **options).history


@pytest.mark.optimized_graphs
@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_is_that_of_the_model(jit_compile):
    plain, taylor = _model(), kt.TaylorModel.from_model(_model())
    losses = _fit(plain, jit_compile=jit_compile)["loss"]
    history = _fit(taylor, jit_compile=jit_compile)
    assert history["loss"] == losses
    for one, other in zip(plain.get_weights(), taylor.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    total = np.add(history["taylor_loss"], history["taylor_regret"])
    np.testing.assert_allclose(total, losses, rtol=1e-6)


def test_the_logged_taylor_loss_is_that_of_the_function():
    taylor = kt.TaylorModel.from_model(_model())
    taylor.compile(keras.optimizers.SGD(0.05), "mse")
    taylor.train_on_batch(X, Y)
    first = _model().trainable_variables
    expected = float(kt.taylor_loss(taylor, X, Y, [v.numpy() for v in first]))
    taylor.reset_metrics()
    logs = taylor.train_on_batch(X, Y, return_dict=True)
    assert logs["taylor_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_what_the_update_changes_is_read_before_it(run_eagerly):
    model = _model(OwnTaylorModel)
    model.compile(keras.optimizers.SGD(0.05), "mse", run_eagerly=run_eagerly)
    logs = model.train_on_batch(X[:8], Y[:8], return_dict=True)
    # In the first round, the comparator is the weights; after it, the loss would be twice as much.
    assert logs["loss"] > 0.1
    assert logs["taylor_regret"] == pytest.approx(0.0, abs=1e-6)


def test_it_is_saved_with_the_model_that_has_the_loss(tmp_path):
    taylor = kt.TaylorModel.from_model(_model())
    _fit(taylor, epochs=1)
    taylor.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected, found = (float(m.evaluate(X, Y, verbose=0)) for m in (taylor, loaded))
    assert found == pytest.approx(expected, rel=1e-6)
    assert found > taylor.predict(X, verbose=0).var()


def test_weights_of_no_layer_are_not_left_out():
    class Uncertain(keras.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.log_variance = self.add_weight((), "zeros", name="log_variance")

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            error = ops.mean(ops.square(y - y_pred))
            return ops.exp(-self.log_variance) * error + self.log_variance

    model = _model(Uncertain)
    with pytest.raises(ValueError, match="belong to no layer of its graph.*log_variance"):
        kt.TaylorModel.from_model(model)
    model.compile("sgd", "mse")
    weights = [v.numpy() for v in model.trainable_variables]
    moved = [w + 0.1 * (w.shape == ()) for w in weights]
    with pytest.warns(UserWarning, match="not known to be convex"):
        value = kt.taylor_loss(model, X, Y, moved, training=False)
    # At log_variance 0 the loss is the error, and moves by 0.1 (1 - error).
    error = np.mean((model.predict(X, verbose=0) - Y) ** 2)
    np.testing.assert_allclose(value, error + 0.1 * (1 - error), rtol=1e-5)
