"""F of all units of a layer, by passes through the model that they share.

A unit moves one channel of the layer's pre-activation z by dz, and the outputs' derivative in z is
the same for all units. So one pass takes it once, by a vector-product an output, and has

    tangent of output k for unit u = sum over places of (df_k/dz)[.., u] (dz)[.., u],

the Taylor loss of each unit, and, since unit u's depends on its own weights alone, all gradients
and curvature products by differentiating the sum over units. The units' solves run side by side,
each with its own point, radius and certificate, and wait for each other's passes.
"""

import functools

import numpy as np
import tensorflow as tf
from keras import ops

from keras_taylor.derivatives import affine
from keras_taylor.derivatives.forward_mode import hooked
from keras_taylor.optimum.loop import over_rounds
from keras_taylor.optimum.questions import CURVATURE, LOSSES, VALUE, AskingObjective
from keras_taylor.optimum.rendezvous import Rendezvous
from keras_taylor.optimum.streamed import added, zeros
from keras_taylor.taylor.batch import expand, output_loss_at
from keras_taylor.taylor.unit_losses import FEW_OUTPUTS, by_example, is_example_wise, recorder
from keras_taylor.weights.parts import Part

# The outputs' derivatives in the pre-activation of a batch up to this size are kept for a round.
KEPT_BYTES = 2**30


def shared_units(rounds, key):
    """Returns the `SharedUnits` of a layer, or `None` where its units cannot share passes.

    They cannot where the layer is not dense or convolutional, the model has many outputs or treats
    examples together (BatchNormalization in training), there are penalties, or the outputs'
    derivatives of a batch are too large.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        key: The key of the layer.
    """
    batch = rounds.first_batch
    layer = rounds.affine_layer(key)
    if layer is None or rounds.loss.is_kinked or not is_example_wise(batch):
        return None
    still, flat, _, records = _recorded(batch, layer)
    sizes = [np.prod(record[2].shape) * flat.shape[1] for record in records]
    is_large = 8 * sum(sizes) > KEPT_BYTES or flat.shape[1] > FEW_OUTPUTS
    return None if is_large or still.penalty is not None else SharedUnits(rounds, key)


def _recorded(batch, layer):
    """Returns a batch expanded, its outputs by example, the tape, and the layer's calls."""
    records = []
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(batch.weights)
        with hooked([layer], lambda *pair: recorder(*pair, records)):
            still = expand(batch)
        flat = ops.concatenate([by_example(point) for point in still.points], axis=1)
    return still, flat, tape, records


class SharedUnits:
    """Passes over rounds that serve all units of a layer; made by `shared_units`.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        key: The key of the layer.
    """

    def __init__(self, rounds, key):
        self._rounds, self._part = rounds, Part(rounds.scopes, f"layer:{key}")
        self._compiled = {wide: rounds.replaced_loss(wide=wide) for wide in (False, True)}
        summed = {VALUE: self._summed_value, CURVATURE: self._summed_curvature}
        self._summed = {
            (kind, wide): tf.function(functools.partial(function, wide), autograph=False)
            for kind, function in summed.items()
            for wide in (False, True)
        }
        self._losses = {
            check: tf.function(functools.partial(self._losses_by_round, check), autograph=False)
            for check in (False, True)
        }
        self._meeting = Rendezvous(self._answers)

    def objective(self, name):
        """Returns the `AskingObjective` of a unit, for a solve within `run`."""
        return AskingObjective(self._rounds, Part(self._rounds.scopes, name), self._meeting.ask)

    def run(self, solves, on_end=lambda: None):
        """Returns the results of functions without arguments that solve for units."""
        return self._meeting.run(solves, on_end)

    def _answers(self, questions):
        answers = [None] * len(questions)
        for of_pass in dict.fromkeys(question.of_pass for question in questions):
            chosen = [n for n, question in enumerate(questions) if question.of_pass == of_pass]
            found = self._pass(*of_pass, [questions[n] for n in chosen])
            for n, answer in zip(chosen, found, strict=True):
                answers[n] = answer
        return answers

    def _pass(self, kind, wide, horizon, check, questions):
        """Returns the answers to questions of one pass."""
        count = self._rounds.checked(horizon) if check else self._rounds.kept(horizon)
        most = tf.constant(count, "int64")
        first = self._part.vector(self._rounds.first).reshape(-1, len(self._part.units))
        points = self._tensors(first, questions, "point")
        units = [question.unit for question in questions]
        if kind == LOSSES:
            losses = self._losses[check](points, most).numpy()
            return [losses[:, unit] for unit in units]
        if kind == CURVATURE:
            vectors = self._tensors(np.zeros_like(first), questions, "vector")
            products = self._matrix(self._summed[kind, wide](points, vectors, most)) / horizon
            return [products[:, unit] for unit in units]
        values, *gradients = self._summed[kind, wide](points, most)
        values, gradients = values.numpy() / horizon, self._matrix(gradients) / horizon
        return [(float(values[unit]), gradients[:, unit]) for unit in units]

    def _tensors(self, matrix, questions, name):
        """Returns the layer's tensors, with the columns that questions have in their units."""
        matrix = matrix.copy()
        for question in questions:
            matrix[:, question.unit] = getattr(question, name)
        arrays = self._part.arrays(matrix.ravel(), self._rounds.first)
        return [tf.constant(arrays[place]) for place in self._part.weights]

    def _matrix(self, tensors):
        rows = [tensor.numpy().reshape(-1, len(self._part.units)) for tensor in tensors]
        return np.concatenate(rows).astype("float64")

    def _summed_value(self, wide, points, most):
        def add(sums, _, round):
            weight, tensors = round
            value_of, dtype = self._unit_losses(tensors, wide)
            moved = [ops.cast(point, dtype) for point in points]
            with tf.GradientTape() as tape:
                tape.watch(moved)
                losses = value_of(moved)
            found = [losses, *tape.gradient(losses, moved)]
            return added(sums, [weight * ops.cast(one, "float64") for one in found])

        start = (tf.zeros(len(self._part.units), "float64"), *zeros(points))
        return over_rounds(self._rounds.dataset, most, start, add)

    def _summed_curvature(self, wide, points, vectors, most):
        def add(sums, _, round):
            weight, tensors = round
            value_of, dtype = self._unit_losses(tensors, wide)
            moved = [ops.cast(point, dtype) for point in points]
            with tf.GradientTape() as outer:
                outer.watch(moved)
                with tf.GradientTape() as tape:
                    tape.watch(moved)
                    losses = value_of(moved)
                pairs = zip(tape.gradient(losses, moved), vectors, strict=True)
                along = sum(ops.sum(one * ops.cast(other, dtype)) for one, other in pairs)
            found = outer.gradient(along, moved, unconnected_gradients="zero")
            return added(sums, [weight * ops.cast(one, "float64") for one in found])

        return over_rounds(self._rounds.dataset, most, zeros(points), add)

    def _losses_by_round(self, check, points, most):
        def put(losses, number, round):
            _, tensors = round
            value_of, dtype = self._unit_losses(tensors, wide=True)
            found = value_of([ops.cast(point, dtype) for point in points])
            found = ops.cast(found, "float64")[None]
            return (tf.tensor_scatter_nd_update(losses[0], [[number]], found),)

        dataset = self._rounds.check_dataset if check else self._rounds.dataset
        start = tf.zeros((most, len(self._part.units)), "float64")
        return over_rounds(dataset, most, [start], put)[0]

    def _unit_losses(self, tensors, wide):
        """Returns a function from the layer's tensors to each unit's Taylor loss, and its dtype."""
        batch = self._rounds.batch(tensors, self._compiled[wide], wide)
        layer = self._rounds.affine_layer(self._part.layer, wide)
        still, flat, tape, records = _recorded(batch, layer)
        places = self._part.weights
        weights = [batch.weights[place] for place in places]
        variables = [batch.model.trainable_variables[place] for place in places]
        befores = [before for _, _, before in records]
        derivatives = _derivatives(tape, flat, befores)

        def losses(points):
            moves = {
                id(variable): point - weight
                for variable, point, weight in zip(variables, points, weights, strict=True)
            }
            return _losses_of_units(batch, still, _tangents(layer, records, derivatives, moves))

        return losses, weights[0].dtype


def _derivatives(tape, flat, befores):
    """Returns the outputs' derivatives in each call's pre-activation, `(outputs, *its shape)`."""

    def of_output(output):
        upstream = tf.one_hot(tf.fill(tf.shape(flat)[:1], output), flat.shape[1], dtype=flat.dtype)
        found = tape.gradient(flat, befores, upstream, unconnected_gradients="zero")
        return tuple(found)

    signature = tuple(tf.TensorSpec(before.shape, before.dtype) for before in befores)
    found = tf.map_fn(of_output, tf.range(flat.shape[1]), fn_output_signature=signature)
    return [tf.stop_gradient(one) for one in found]


def _tangents(layer, records, derivatives, moves):
    """Returns the tangents of all units, `(units, outputs, examples)`."""
    bias = moves.get(id(layer.bias)) if layer.use_bias else None
    tangents = []
    for (_, inputs, before), derivative in zip(records, derivatives, strict=True):
        options = {"kernel_tangent": moves.get(id(layer.kernel)), "bias_tangent": bias}
        change = affine.tangent(layer, tf.stop_gradient(inputs), **options)
        axes = list(range(2, len(before.shape)))
        tangents.append(tf.reduce_sum(derivative * change[None], axes))
    return tf.transpose(sum(tangents), (2, 0, 1))


def _losses_of_units(batch, still, tangents):
    points = still.points
    sizes = [int(by_example(point).shape[1]) for point in points]

    def loss_of(tangent):
        parts = tf.split(tf.transpose(tangent), sizes, axis=1)
        shaped = [tf.reshape(t, tf.shape(p)) for t, p in zip(parts, points, strict=True)]
        return output_loss_at(batch, still, [p + t for p, t in zip(points, shaped, strict=True)])

    return tf.vectorized_map(loss_of, tangents)
