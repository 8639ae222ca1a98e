"""Tests of the tracker: sums equal to a replay in NumPy, and training as without it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_taylor as kt
from keras_taylor.optimizers.regret_tracker import latest_tracker, tracker_of
from keras_taylor.tracking import gradient_sums

RegretTracker = kt.optimizers.RegretTracker


@pytest.mark.parametrize("radius", [None, 0.7])
def test_equals_a_replay_in_numpy(training, radius):
    inner = training.replay(0.1)
    tracker = RegretTracker(inner, radius=radius)
    training.fit(training.compile(tracker, run_eagerly=True))
    assert int(tracker.steps) == len(inner.kept) == 12
    expected_of, flat = training.linear_regret, training.flat
    found = tracker.linear_regret()
    np.testing.assert_allclose(found, expected_of(inner.kept, flat, radius), rtol=1e-5)
    by_layer, by_unit = tracker.linear_regret("layers"), tracker.linear_regret("units")
    for number, layer in enumerate(("hidden", "normalization", "logits")):
        pair = slice(2 * number, 2 * number + 2)
        expected = expected_of(inner.kept, lambda w, p=pair: flat(w[p]), radius)
        np.testing.assert_allclose(by_layer[layer], expected, rtol=1e-5)
        for unit in range(by_unit[layer].shape[0]):
            expected = expected_of(
                inner.kept, lambda w, p=pair, u=unit: flat([a[..., u] for a in w[p]]), radius
            )
            np.testing.assert_allclose(by_unit[layer][unit], expected, rtol=1e-5, atol=1e-7)


def test_sample_weights_and_a_penalty_equal_numpy(training, float64):
    """A linear layer whose losses and gradients are written out in NumPy."""
    generator = np.random.default_rng(3)
    x, y = generator.normal(size=(24, 3)), generator.normal(size=(24, 2))
    shares = generator.uniform(0.5, 2.0, 24)
    inputs = keras.Input((3,))
    layer = keras.layers.Dense(2, name="out", kernel_regularizer=keras.regularizers.L2(0.1))
    model = keras.Model(inputs, layer(inputs))
    kernel, bias = model.get_weights()
    tracker = RegretTracker(keras.optimizers.SGD(0.05))
    model.compile(tracker, loss="mse")
    options = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
    model.fit(x, y, sample_weight=shares, **options)
    kept, losses = [], []
    for first in (0, 8, 16) * 2:
        batch = slice(first, first + 8)
        error = x[batch] @ kernel + bias - y[batch]
        weighted = shares[batch, None] * error
        losses.append(np.mean(weighted * error) + 0.1 * np.sum(kernel**2))
        gradients = [x[batch].T @ weighted / 8 + 0.2 * kernel, weighted.sum(axis=0) / 8]
        kept.append(([kernel, bias], gradients))
        kernel, bias = kernel - 0.05 * gradients[0], bias - 0.05 * gradients[1]
    expected = training.linear_regret(kept, training.flat)
    np.testing.assert_allclose(tracker.linear_regret(), expected, rtol=1e-6)
    np.testing.assert_allclose(tracker.average_loss, np.mean(losses), rtol=1e-6)
    bound = np.mean(losses) - expected / 6
    np.testing.assert_allclose(tracker.optimum_lower_bound(), bound, rtol=1e-6)
    for unit in range(2):
        expected = training.linear_regret(kept, lambda w, u=unit: np.append(w[0][:, u], w[1][u]))
        found = tracker.linear_regret(f"unit:out/{unit}")
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.optimized_graphs
def test_graph_and_xla_equal_eager(training):
    values = []
    for options in ({"run_eagerly": True}, {}, {"jit_compile": True}, {"steps_per_execution": 3}):
        tracker = RegretTracker(keras.optimizers.Adam(0.01))
        training.fit(training.compile(tracker, training.model(dropout=0), **options))
        values.append([float(tracker.linear_regret()), float(tracker.optimum_lower_bound())])
    for value in values[1:]:
        np.testing.assert_allclose(value, values[0], rtol=1e-4)


def test_comparator_gives_its_own_bound(training):
    inner = training.replay(0.1)
    tracker = RegretTracker(inner)
    model = training.compile(tracker, run_eagerly=True)
    training.fit(model)
    comparator = [w + 0.3 for w in inner.kept[-1][0]]
    flat = training.flat
    expected = sum(np.vdot(flat(g), flat(w) - flat(comparator)) for w, g in inner.kept)
    np.testing.assert_allclose(tracker.linear_regret(comparator=comparator), expected, rtol=1e-5)
    first_weights = inner.kept[0][0]
    assert float(tracker.linear_regret(comparator=first_weights)) <= float(tracker.linear_regret())
    with pytest.raises(ValueError, match="comparator must be a list"):
        tracker.linear_regret(comparator=comparator[:-1])


@pytest.mark.optimizer_built_in_fit
def test_average_loss_and_bound_are_those_of_the_history(training):
    tracker = RegretTracker(keras.optimizers.SGD(0.05))
    history = training.fit(training.compile(tracker)).history["loss"]
    average = float(tracker.average_loss)
    np.testing.assert_allclose(average, np.mean(history), rtol=1e-6)
    bound = average - float(tracker.linear_regret()) / 12
    np.testing.assert_allclose(tracker.optimum_lower_bound(), bound, rtol=1e-5)
    units = tracker.optimum_lower_bound("units")["logits"]
    expected = average - np.asarray(tracker.linear_regret("units")["logits"]) / 12
    np.testing.assert_allclose(units, expected, rtol=1e-5)


def test_radius_is_the_distance_travelled(training):
    inner = training.replay(0.1)
    tracker = RegretTracker(inner)
    training.fit(training.compile(tracker, run_eagerly=True))
    first = training.flat(inner.kept[0][0])
    expected = max(np.linalg.norm(training.flat(w) - first) for w, _ in inner.kept)
    np.testing.assert_allclose(tracker.distance_travelled(), expected, rtol=1e-6)


def test_saving_and_continuing_equals_not_stopping(training, tmp_path):
    tracker = RegretTracker(keras.optimizers.Adam(0.01), radius=0.5)
    # Without dropout: Keras itself does not go on with the same masks.
    model = training.model(dropout=0)
    training.compile(tracker, model, metrics=[kt.metrics.LinearRegret(tracker)])
    training.fit(model, epochs=1)
    model.save(tmp_path / "model.keras")
    whole = training.fit(model, epochs=1)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    again = training.fit(loaded, epochs=1)
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(tracker.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.optimizer.radius == 0.5
    # The metric that was loaded reads the tracker that was loaded.
    assert again.history["average_linear_regret"] == whole.history["average_linear_regret"]


class Cautious(keras.optimizers.SGD):
    """SGD that ignores the coordinates of a gradient that are no numbers."""

    def update_step(self, gradient, variable, learning_rate):
        gradient = keras.ops.where(keras.ops.isfinite(gradient), gradient, 0.0)
        super().update_step(gradient, variable, learning_rate)


@pytest.mark.parametrize("compiled", [{}, {"jit_compile": True}], ids=str)
def test_non_finite_gradients_are_counted_and_kept_out(compiled):
    variable = keras.Variable(np.ones(2, "float32"), name="v")
    tracker = RegretTracker(Cautious(0.1), radius=1.0)
    tracker.build([variable])

    @tf.function(**compiled)
    def step(gradient, loss):
        tracker.scale_loss(loss)
        tracker.apply([gradient], [variable])

    bad = [(np.nan, 1.0), (np.inf, 1.0), (-np.inf, 1.0), (0.5, np.nan), (0.5, np.inf)]
    for value, loss in [(np.nan, 1.0), (1.0, 2.0), *bad, (3.0, 4.0)]:
        step(tf.constant([value, 1.0], tf.float32), tf.constant(loss, tf.float32))
    assert (int(tracker.steps), int(tracker.skipped_steps)) == (2, 6)
    assert float(tracker.average_loss) == 3.0
    np.testing.assert_allclose(tracker._sums.gradient_sums[0], [[4.0, 2.0]])
    np.testing.assert_allclose(variable, [1 - 0.1 * (1 + 0.5 + 0.5 + 3), 1 - 0.1 * 8], rtol=1e-6)


def test_tracking_starts_anew_after_a_burn_in(training):
    inner = training.replay(0.1)
    tracker = RegretTracker(inner)
    model = training.compile(tracker, run_eagerly=True)
    training.fit(model, epochs=1)
    tracker.start_tracking()
    assert int(tracker.steps) == 0
    assert np.isnan(tracker.average_loss)
    training.fit(model, epochs=1)
    expected = training.linear_regret(inner.kept[6:], training.flat)
    np.testing.assert_allclose(tracker.linear_regret(), expected, rtol=1e-5)


def test_start_tracking_before_the_first_step_changes_nothing(training):
    tracker = RegretTracker("sgd")
    tracker.start_tracking()
    training.fit(training.compile(tracker), epochs=1)
    assert int(tracker.steps) == 6


@pytest.mark.optimizer_built_in_fit
def test_no_retracing_after_the_first_step(training):
    counts = {}
    for name, optimizer in {"bare": "adam", "tracked": RegretTracker("adam")}.items():
        model = training.compile(optimizer)
        traces = []
        original = model.train_step
        model.train_step = lambda data, t=traces, step=original: t.append(1) or step(data)
        training.fit(model, epochs=1)
        first = len(traces)
        training.fit(model, epochs=3)
        counts[name] = (first, len(traces))
    assert counts["tracked"] == counts["bare"]
    assert counts["tracked"][0] == counts["tracked"][1]


@pytest.mark.parametrize(("large", "tolerance"), [(gradient_sums.LARGE, 1e-12), (1, 2e-7)])
def test_many_steps_lose_nothing(large, tolerance, monkeypatch):
    """Sums of tenths: in float32 they would be off by a thousandth."""
    monkeypatch.setattr(gradient_sums, "LARGE", large)
    steps = 50_000
    variable = keras.Variable(np.zeros((1, 1), "float32"), name="kernel")
    tracker = RegretTracker(keras.optimizers.SGD(1e-3), radius=1.0)
    tracker.build([variable])

    @tf.function
    def train(steps):
        for _ in tf.range(steps):
            tracker.scale_loss(tf.constant(0.1))
            tracker.apply([tf.fill((1, 1), 0.1)], [variable])

    train(tf.constant(steps))
    assert int(tracker.steps) == steps
    tenth = float(np.float32(0.1))
    np.testing.assert_allclose(tracker._sums.gradient_sums[0], steps * tenth, rtol=tolerance)
    np.testing.assert_allclose(tracker.average_loss, tenth, rtol=1e-7)


def test_embedding_gradients_are_summed():
    inputs = keras.Input((2,), dtype="int32")
    outputs = keras.layers.Flatten()(keras.layers.Embedding(5, 3, name="words")(inputs))
    model = keras.Model(inputs, outputs)
    tracker = RegretTracker(keras.optimizers.SGD(0.1))
    model.compile(tracker, loss="mse")
    model.fit(np.array([[1, 1], [2, 3]]), np.ones((2, 6)), epochs=3, verbose=0)
    assert tracker.linear_regret("units")["words"].shape == (3,)
    assert float(tracker.linear_regret()) > 0


def test_missing_gradients_count_as_zero():
    used, unused = (keras.Variable(np.ones(2, "float32"), name=name) for name in ("u", "n"))
    tracker = RegretTracker(keras.optimizers.SGD(0.1), radius=1.0)
    tracker.build([used, unused])
    for _ in range(2):
        tracker.apply([np.ones(2, "float32"), None], [used, unused])
        tracker.apply([np.ones(2, "float32")], [used])
    assert float(tracker.linear_regret("layers")["n"]) == 0.0
    assert float(tracker.linear_regret("layers")["u"]) > 0.0
    assert np.isnan(tracker.average_loss), "no loss was seen: `scale_loss` was not called"


def test_double_precision_models_have_double_precision_sums():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model = keras.models.clone_model(
        model,
        clone_function=lambda layer: layer.__class__.from_config(
            {**layer.get_config(), "dtype": "float64"}
        ),
    )
    tracker = RegretTracker(keras.optimizers.SGD(0.1))
    model.compile(tracker, loss="mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    assert keras.backend.standardize_dtype(tracker.linear_regret().dtype) == "float64"


def test_memory_is_three_copies_of_the_weights(training):
    tracker = RegretTracker(keras.optimizers.SGD(0.1))
    variables = training.model().trainable_variables
    tracker.build(variables)
    inner = {id(variable) for variable in tracker.inner_optimizer.variables}
    own = [variable for variable in tracker.variables if id(variable) not in inner]
    assert not {id(variable) for variable in variables}.intersection(map(id, own))
    of_weights = sum(np.prod(v.shape) * 4 for v in variables)
    matrices = [v for v in own if len(v.shape) == 2 and v.name != "unit_sum"]
    assert sum(np.asarray(v).nbytes for v in matrices) <= 3 * of_weights


@pytest.mark.parametrize("radius", [0, -1.0, np.inf, np.nan, True, np.True_, "2", [1.0]], ids=repr)
def test_radius_has_to_be_a_positive_number(radius):
    with pytest.raises(ValueError, match="radius must be a positive number"):
        RegretTracker("sgd", radius=radius)


@pytest.mark.parametrize("radius", [2, np.float32(2), np.int64(2), None])
def test_radius_is_saved_as_a_number_of_python(radius):
    config = keras.saving.serialize_keras_object(RegretTracker("sgd", radius=radius))
    again = keras.saving.deserialize_keras_object(config)
    assert again.radius == (None if radius is None else 2.0)
    assert type(again.radius) in (float, type(None))


def test_tracker_inside_a_tracker_is_refused():
    with pytest.raises(ValueError, match="cannot wrap another RegretTracker"):
        RegretTracker(RegretTracker("sgd"))


def test_trackers_are_found():
    tracker = RegretTracker("sgd", name="mine")
    assert tracker_of(keras.mixed_precision.LossScaleOptimizer(tracker)) is tracker
    assert tracker_of(keras.optimizers.SGD()) is None
    assert latest_tracker("mine") is tracker
    assert latest_tracker("nobody's") is None


@pytest.mark.parametrize("eager", [True, False])
def test_a_loss_without_reduction_counts_as_the_sum_that_gradients_are_of(eager):
    x, y, trackers = np.eye(3, 4), np.ones((3, 1)), []
    for reduction in ("none", "sum"):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "relu")])
        model.set_weights([np.full((4, 1), 0.5), np.zeros(1)])
        trackers.append(RegretTracker(keras.optimizers.SGD(0.1)))
        loss = keras.losses.MeanSquaredError(reduction=reduction)
        model.compile(trackers[-1], loss=loss, run_eagerly=eager)
        for _ in range(2):
            model.train_on_batch(x, y)
    values = [(float(t.average_loss), float(t.linear_regret()), int(t.steps)) for t in trackers]
    assert values[0] == pytest.approx(values[1])
    assert values[0][2] == 2


@pytest.mark.parametrize("eager", [True, False])
def test_an_empty_batch_is_no_round(eager):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    tracker = RegretTracker(keras.optimizers.SGD(0.1))
    model.compile(tracker, loss="mse", run_eagerly=eager)
    # In a graph the shape of the first batch is static.
    model.train_on_batch(np.ones((0, 4)), np.ones((0, 1)))
    assert (int(tracker.steps), int(tracker.skipped_steps)) == (0, 1)
    assert np.isnan(tracker.average_loss)
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 1)))
    assert (int(tracker.steps), int(tracker.skipped_steps)) == (1, 1)
    assert float(tracker.average_loss) > 0
