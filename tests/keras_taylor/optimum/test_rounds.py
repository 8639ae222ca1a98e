"""Tests of the rounds that solves read."""

import keras
import numpy as np
import pytest

import keras_taylor as kt
from keras_taylor.optimum.rounds import Rounds
from keras_taylor.weights.parts import Part

STEPS = 6


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, "relu", name="a"), keras.layers.Dense(3, "softmax", name="b")]
    model = keras.Sequential([keras.Input((2,)), *layers], name="net")
    model.compile(keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
    generator = np.random.default_rng(0)
    batches = [(generator.normal(size=(4, 2)), generator.integers(0, 3, 4)) for _ in range(STEPS)]
    path = tmp_path_factory.mktemp("rounds") / "run"
    return kt.record(model, batches, path, steps=STEPS, verbose=0), model


@pytest.mark.parametrize("horizon", [None, 2])
@pytest.mark.parametrize("name", ["network", "layer:net/b", "unit:net/a/1"])
def test_losses_and_distances_are_those_of_the_trajectory(recorded, name, horizon):
    trajectory, model = recorded
    rounds, kept = Rounds(trajectory, model), list(trajectory)[:horizon]
    part = Part(rounds.scopes, name)
    vectors = np.array([part.vector(one.weights) for one in kept])
    travelled = np.linalg.norm(vectors - vectors[0], axis=1).max()
    assert rounds.travelled(part, horizon) == pytest.approx(travelled, rel=1e-9)
    assert rounds.losses(horizon).tolist() == [one.loss for one in kept]
    assert rounds.average_loss(horizon) == pytest.approx(np.mean([one.loss for one in kept]))
    assert len(rounds) == STEPS


def test_kind_of_the_loss(recorded):
    rounds = Rounds(*recorded)
    assert rounds.from_logits
    assert not rounds.loss.is_quadratic
    assert not rounds.loss.is_kinked
    assert rounds.wide_model.trainable_variables[0].dtype == "float64"


def test_only_the_latest_is_remembered(recorded):
    rounds, made = Rounds(*recorded), []
    for layer, kind in (("a", "x"), ("a", "y"), ("a", "x"), ("b", "x"), ("a", "x")):
        rounds.remember(layer, kind, lambda made_of=(layer, kind): made.append(made_of))
    assert made == [("a", "x"), ("a", "y"), ("b", "x"), ("a", "x")]


def test_no_rounds_and_another_model(recorded, tmp_path):
    trajectory, _ = recorded
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    other.compile(loss="mse")
    with pytest.raises(ValueError, match="recorded from another model"):
        Rounds(trajectory, other)


def _compiled(loss, model=None):
    keras.utils.set_random_seed(1)
    if model is None:
        layers = [keras.layers.Dense(4, "relu", name="a"), keras.layers.Dense(3, "softmax")]
        model = keras.Sequential([keras.Input((2,)), *layers])
    model.compile("sgd", loss=loss)
    return model


def test_the_loss_has_to_be_the_one_trained_with(recorded):
    trajectory, _ = recorded
    for loss, message in (
        ("mse", "function was 'sparse_categorical_crossentropy', now it is 'mean_squared_error'"),
        (
            keras.losses.SparseCategoricalCrossentropy(reduction="sum"),
            "reduction was 'sum_over_batch_size', now it is 'sum'",
        ),
    ):
        with pytest.raises(ValueError, match=f"recorded with another loss.*{message}.*pass `loss`"):
            Rounds(trajectory, _compiled(loss))
    # Names, seeds and the optimizer do not matter, nor how the loss is written.
    assert Rounds(trajectory, _compiled(keras.losses.SparseCategoricalCrossentropy()))
    assert Rounds(trajectory, _compiled("mse"), "sparse_categorical_crossentropy").is_recorded_loss


def test_another_loss_on_purpose_has_an_optimum_and_no_regret(recorded, tmp_path):
    trajectory, _ = recorded
    model = _compiled("sparse_categorical_crossentropy")
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="sum")
    same = kt.taylor_optimum(trajectory, model, tolerance=1e-3, verbose=0)
    found = kt.taylor_optimum(trajectory, model, tolerance=1e-3, loss=loss, verbose=0)
    assert found.converged
    assert found.value == pytest.approx(4 * same.value, rel=2e-3), "batches have four examples"
    assert np.isnan([found.average_loss, *found.average_regret]).all()
    table = kt.decompose(trajectory, model, "network", [STEPS], loss=loss, verbose=0)
    (row,) = table.rows
    assert row["optimum_lower"] <= found.value
    assert all(np.isnan(value) for name, value in row.items() if "average" in name)
    assert np.isnan(table.regrets["network", STEPS]).all()
    assert np.isnan(table.rate()["network"].slope)


@keras.saving.register_keras_serializable("test_rounds")
def finite_relu(x):
    """A rectifier that turns NaN into zero, as that of some processors does."""
    return keras.ops.where(keras.ops.isnan(x), 0.0, keras.ops.relu(x))


@pytest.mark.parametrize("options", [{}, {"sample": 12}])
def test_weights_that_are_not_finite_in_another_layer_are_said(tmp_path, options):
    """Rectifiers may turn them into zeros, so that losses stay finite."""

    class Spoil(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 15:
                kernel, bias = self.model.layers[0].get_weights()
                self.model.layers[0].set_weights([kernel * np.nan, bias])

    layers = [keras.layers.Dense(3, finite_relu, name="a"), keras.layers.Dense(1, name="b")]
    model = keras.Sequential([keras.Input((2,)), *layers], name="net")
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    batches = [(np.ones((4, 2)), np.ones((4, 1)))] * 20
    options = {"steps": 20, "callbacks": [Spoil()], "verbose": 0} | options
    trajectory = kt.record(model, batches, tmp_path / "run", **options)
    assert all(np.isfinite(round.loss) for round in trajectory)
    with pytest.warns(UserWarning, match="weights of net/a are not finite: training diverged"):
        kt.taylor_optimum(trajectory, model, "layer:net/b", verbose=0)
    with pytest.warns(UserWarning, match="are not finite"):
        table = kt.decompose(trajectory, model, "layer:net/b", rounds=[7], verbose=0)
    assert np.isfinite(table.rows[0]["optimum_upper"])


def test_a_replay_finds_what_configurations_do_not_show(tmp_path):
    """Two layers of the same configuration that compute something else."""

    class Scaled(keras.layers.Layer):
        factor = 2.0

        def call(self, x):
            return self.factor * x

    class Other(Scaled):
        factor = 3.0

    Other.__name__ = "Scaled"

    def made(layer):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((2,))
        model = keras.Model(inputs, layer()(keras.layers.Dense(1)(inputs)))
        model.compile("sgd", loss="mse")
        return model

    batches = [(np.ones((4, 2)), np.zeros((4, 1)))] * 4
    trajectory = kt.record(made(Scaled), batches, tmp_path / "run", steps=4, verbose=0)
    with pytest.raises(ValueError, match="replaying its first round .* gives a loss of"):
        Rounds(trajectory, made(Other))
    assert len(Rounds(trajectory, made(Scaled))) == 4


@pytest.mark.filterwarnings("ignore:model .* has no copy in float64")
@pytest.mark.parametrize("kind", ["penalised", "integers"])
def test_models_without_a_copy_in_float64_are_solved_in_their_own(kind, tmp_path):
    """With Dropout: penalties, more outputs than units, and inputs that are no numbers to round."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), dtype="int32" if kind == "integers" else "float32")
    hidden = inputs
    if kind == "integers":
        hidden = keras.layers.Flatten()(keras.layers.Embedding(7, 3, name="embedding")(inputs))
    hidden = keras.layers.Dense(3, "relu", name="a")(keras.layers.Dropout(0.2)(hidden))
    penalty = "l2" if kind == "penalised" else None
    outputs = keras.layers.Dense(5, name="b", kernel_regularizer=penalty)(hidden)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    generator = np.random.default_rng(0)
    batches = [
        (generator.integers(0, 7, (6, 4)), generator.normal(size=(6, 5))) for _ in range(STEPS)
    ]
    trajectory = kt.record(model, batches, tmp_path / "run", steps=STEPS, verbose=0)
    rounds = Rounds(trajectory, model)
    assert rounds.wide_model is model
    assert rounds.unit_roundoff == np.finfo("float32").eps
    table = kt.decompose(trajectory, model, ["network", "layer:a", "unit:a/1"], [STEPS], verbose=0)
    for row in table.rows:
        assert row["optimum_lower"] < row["optimum_upper"]
        assert row["average_regret_lower"] <= row["average_linear_regret"] + 1e-3
