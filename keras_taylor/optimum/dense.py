"""F of dense layers and their units, without passes through the model, in float64.

For a dense layer with inputs h (a one appended where it has a bias), pre-activation `z = V h` and
the outputs' Jacobian `D = df/dz`, all of example i at its own round,

    T(V) = f_i + D_i (V h_i - z_i).

So F depends only on h, z, D, f of all rounds. They are collected in one pass, and F and its
derivatives are matrix products of them. Where the loss is quadratic and has more outputs than the
layer has units, its expansion at f, `D' dl/df` and `D' H D` (H its curvature), stands for D and f.
"""

import copy
import math

import numpy as np
import tensorflow as tf
from keras import layers

from keras_taylor.derivatives import affine
from keras_taylor.derivatives.expansion import gradients
from keras_taylor.derivatives.forward_mode import hooked, leaf_layers
from keras_taylor.optimum import ball
from keras_taylor.optimum.objective import SmoothObjective
from keras_taylor.optimum.passes import Passes
from keras_taylor.optimum.streamed import StreamedObjective
from keras_taylor.taylor.batch import expand, output_loss_at
from keras_taylor.taylor.outputs import OutputLoss
from keras_taylor.taylor.unit_losses import by_example, is_example_wise, recorder
from keras_taylor.weights.parts import Part

# Features of one layer up to this size are kept; larger layers take passes through the model.
KEPT_BYTES = 3 * 2**30
# The most outputs for which the outputs' Jacobian is worth its time.
MOST_OUTPUTS = 1024
# Features that are multiplied at once.
CHUNK_BYTES = 2**27
# How far F and its gradient may be from what passes through the model give, by precision.
AGREEMENT = {"float32": 1e-3, "float64": 1e-5}


def dense_objective(rounds, part):
    """Returns the `DenseObjective` of a part, or `None` where passes have to go through the model.

    That is the case for parts other than a dense layer or a unit of one, inputs with more axes than
    two, several outputs, penalties, batches of different sizes, layers that treat examples
    together (BatchNormalization in training), and features larger than `KEPT_BYTES`. The features
    are checked once against a pass through the model at the first weights.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        part: The `keras_taylor.weights.parts.Part`.
    """
    if part.layer is None:
        return None
    features = rounds.remember(part.layer, lambda: _checked_features(rounds, part.layer))
    return None if features is None else DenseObjective(rounds, part, features)


def _checked_features(rounds, key):
    layer = _dense_layer(rounds, key)
    features = None if layer is None else _collect(rounds, layer)
    if features is None:
        return None
    part = Part(rounds.scopes, f"layer:{key}")
    first = part.vector(rounds.first)
    through_model = StreamedObjective(rounds, part).value_and_gradient(first)
    found = DenseObjective(rounds, part, features).value_and_gradient(first)
    tolerance = AGREEMENT.get(layer.kernel.dtype, 0.0)
    close = [
        np.linalg.norm(one - other) <= tolerance * max(np.linalg.norm(other), 1e-6)
        for one, other in zip(found, through_model, strict=True)
    ]
    return features if all(close) else None


def _dense_layer(rounds, key):
    """Returns the dense layer of that key, or `None`."""
    keys = rounds.scopes.keys_of(rounds.wide_model.trainable_variables)
    found = [
        layer
        for layer in leaf_layers(rounds.wide_model)
        if key in (keys.get(id(variable)) for variable in layer.trainable_variables)
    ]
    if len(found) != 1 or type(found[0]) is not layers.Dense or not affine.is_affine(found[0]):
        return None
    return found[0]


def _collect(rounds, layer):
    """Returns a layer's `Features` of all rounds, or `None` where they are not for this way."""
    compiled = rounds.replaced_loss(wide=True)
    collect = tf.function(
        lambda *tensors: _of_round(rounds, layer, compiled, tensors), autograph=False
    )
    found, size = [], 0
    for tensors in rounds.dataset:
        found.append(collect(*tensors))
        if not found[-1]:
            return None
        size = sum(tensor.nbytes for tensor in map(np.asarray, found[-1].values()))
        if size * len(rounds) > KEPT_BYTES:
            return None
    if len({len(one["before"]) for one in found}) > 1:
        return None
    return Features(found, max(1, CHUNK_BYTES // size))


class Features:
    """What F of a dense layer depends on, over the examples of all rounds.

    Args:
        by_round: A dictionary of tensors for each round, the first axis that of its examples:
            `inputs`, h with a last column of ones where the layer has a bias; `before`, z; and
            either `points`, f, `y`, `sample_weight` (if any), `jacobian`, D (if z is not f itself),
            or `loss`, `linear`, `D' dl/df`, and `curvature`, `D' H D`.
        length: The number of rounds that are multiplied at once, as a chunk.
    """

    def __init__(self, by_round, length):
        self.length, self.batch_size = length, len(by_round[0]["before"])
        self.chunks = [
            {name: tf.concat([one[name] for one in some], 0) for name in some[0]}
            for some in (by_round[i : i + length] for i in range(0, len(by_round), length))
        ]

    def first(self, horizon):
        """Yields the chunks of the first rounds, the last of them cut where they end."""
        for chunk in self.chunks[: -(-horizon // self.length)]:
            most = min(horizon, self.length) * self.batch_size
            yield {name: tensor[:most] for name, tensor in chunk.items()}
            horizon -= self.length

    def of_unit(self, unit):
        """Returns the features of one unit of the layer."""
        found = copy.copy(self)
        found.chunks = [chunk | dict(_unit_tensors(chunk, unit)) for chunk in self.chunks]
        return found


def _of_round(rounds, layer, compiled, tensors):
    """Returns the features of one round, and none where the layer has no such features."""
    batch, records = rounds.batch(tensors, compiled, wide=True), []
    if not is_example_wise(batch):
        return {}
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(batch.weights)
        with hooked([layer], lambda *pair: recorder(*pair, records)):
            still = expand(batch)
        flat = by_example(still.points[0])
    if not _is_simple(batch, still, records):
        return {}
    _, inputs, before = records[0]
    if layer.use_bias:
        inputs = tf.concat([inputs, tf.ones_like(inputs[:, :1])], 1)
    found, points = {"inputs": inputs, "before": before}, still.points[0]
    jacobian = None if before is points else tape.batch_jacobian(flat, before)
    if jacobian is not None and still.loss.is_quadratic and layer.units < flat.shape[1]:
        return found | _quadratic(batch, still, jacobian)
    found |= {"points": points, "y": batch.y}
    found |= {} if jacobian is None else {"jacobian": jacobian}
    return found | ({} if batch.sample_weight is None else {"sample_weight": batch.sample_weight})


def _is_simple(batch, still, records):
    points = still.points
    return (
        len(points) == len(records) == 1
        and len(records[0][1].shape) == 2
        and tf.is_tensor(batch.y)
        and None not in points[0].shape[1:]
        and math.prod(points[0].shape[1:]) <= MOST_OUTPUTS
        and still.penalty is None
    )


def _quadratic(batch, still, jacobian):
    """Returns the second-order expansion, at z, of a loss that is quadratic in the outputs."""
    points, shape = still.points[0], tf.shape(still.points[0])

    def gradient(moved):
        with tf.GradientTape() as tape:
            tape.watch(moved)
            value = output_loss_at(batch, still, [moved])
        return gradients(tape, value, [moved])[0]

    def curvature_product(vector):
        # The gradient is linear in the outputs.
        return by_example(gradient(points + tf.reshape(vector, shape))) - at_points

    at_points = by_example(gradient(points))
    columns = tf.map_fn(curvature_product, tf.transpose(jacobian, (2, 0, 1)))
    examples, value = shape[0], output_loss_at(batch, still, [points])
    return {
        "loss": tf.fill((examples,), value / tf.cast(examples, points.dtype)),
        "linear": tf.einsum("epu,ep->eu", jacobian, at_points),
        "curvature": tf.einsum("epu,vep->euv", jacobian, columns),
    }


class DenseObjective(SmoothObjective):
    """F of a dense layer or a unit and its derivatives, on features; made by `dense_objective`.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        part: The `keras_taylor.weights.parts.Part`.
        features: The `Features` of its layer.
    """

    def __init__(self, rounds, part, features):
        self.part, self.horizon = part, len(rounds)
        self._loss = OutputLoss(rounds.replaced_loss(wide=True))
        self._from_logits = rounds.from_logits
        self._features = features if part.unit is None else features.of_unit(part.unit)
        # A sum of losses is one over all rounds; a mean has to be undone.
        self._is_sum = rounds.loss.losses[0].reduction == "sum"
        self._value = tf.function(self._chunk_value, autograph=False, reduce_retracing=True)
        self._curvature = tf.function(self._chunk_curvature, autograph=False, reduce_retracing=True)
        self._losses = tf.function(self._chunk_losses, autograph=False, reduce_retracing=True)

    def over_first(self, horizon):
        other = copy.copy(self)
        other.horizon = horizon
        return other

    def minimize(self, budget, center, radii, tolerance, warm_start):
        passes = Passes(self, budget)
        is_quadratic = self._loss.is_quadratic
        return ball.minimize(passes, center, radii, tolerance, is_quadratic, warm_start)

    def value_and_gradient(self, point):
        matrix = self._matrix(point)
        found = [self._value(matrix, chunk) for chunk in self._features.first(self.horizon)]
        value = sum(float(value) for value, _ in found) / self.horizon
        return value, self._mean(gradient for _, gradient in found)

    def curvature_product(self, point, vector):
        matrix, direction = self._matrix(point), self._matrix(vector)
        chunks = self._features.first(self.horizon)
        return self._mean(self._curvature(matrix, direction, chunk) for chunk in chunks)

    def losses(self, point):
        matrix = self._matrix(point)
        chunks = self._features.first(self.horizon)
        return np.concatenate([self._losses(matrix, chunk).numpy() for chunk in chunks])

    def _matrix(self, vector):
        chunk = self._features.chunks[0]
        shape = (chunk["inputs"].shape[1], chunk["before"].shape[1])
        return tf.constant(vector.reshape(shape), chunk["inputs"].dtype)

    def _mean(self, gradients):
        return sum(g.numpy().astype("float64") for g in gradients).ravel() / self.horizon

    def _chunk_value(self, v, chunk):
        with tf.GradientTape() as tape:
            tape.watch(v)
            value = self._sum(v, chunk)
        return value, tape.gradient(value, v)

    def _chunk_curvature(self, v, p, chunk):
        with tf.GradientTape() as tape:
            tape.watch(v)
            product = tf.reduce_sum(self._chunk_value(v, chunk)[1] * p)
        return tape.gradient(product, v, unconnected_gradients="zero")

    def _chunk_losses(self, v, chunk):
        size = self._features.batch_size
        by_round = {
            name: tf.reshape(tensor, tf.concat([[-1, size], tf.shape(tensor)[1:]], 0))
            for name, tensor in chunk.items()
        }
        signature = tf.TensorSpec((), v.dtype)
        return tf.map_fn(lambda one: self._sum(v, one), by_round, fn_output_signature=signature)

    def _sum(self, v, chunk):
        """Returns the sum of the Taylor losses of the rounds of a chunk."""
        moved = chunk["inputs"] @ v - chunk["before"]
        if "curvature" in chunk:
            product = tf.linalg.matvec(chunk["curvature"], moved)
            return tf.reduce_sum(chunk["loss"]) + tf.reduce_sum(
                (chunk["linear"] + product / 2) * moved
            )
        if "jacobian" in chunk:
            moved = tf.linalg.matvec(chunk["jacobian"], moved)
        point = chunk["points"] + tf.reshape(moved, tf.shape(chunk["points"]))
        output = self._loss.output_at(point, self._from_logits)
        value = self._loss(chunk["y"], output, [point], chunk.get("sample_weight"))
        rounds = tf.shape(chunk["before"])[0] // self._features.batch_size
        return value if self._is_sum else value * tf.cast(rounds, value.dtype)


def _unit_tensors(chunk, unit):
    one = slice(unit, unit + 1)
    yield "before", chunk["before"][:, one]
    if "curvature" in chunk:
        yield "linear", chunk["linear"][:, one]
        yield "curvature", chunk["curvature"][:, one, one]
    elif "jacobian" in chunk:
        yield "jacobian", chunk["jacobian"][:, :, one]
    else:
        shape = tf.shape(chunk["before"])
        column = tf.one_hot(unit, shape[1], dtype=chunk["before"].dtype)
        yield "jacobian", tf.tile(column[None, :, None], (shape[0], 1, 1))
