"""F of an affine layer and its derivatives on features, as functions that are traced once."""

import tensorflow as tf

from keras_taylor.derivatives import affine
from keras_taylor.optimum.chunks import ChunkLoss, traced
from keras_taylor.taylor.unit_losses import by_example


class AffineGraphs:
    """F and its derivatives on a chunk of features, as functions that are traced once a layer.

    They take weights, the layer's kernel and bias (if any), and a chunk.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        layer: The layer of the model.
        batch_size: The number of examples in a round.

    Attributes:
        points: Returns T at the weights, shaped like the points.
        value: Returns the sum of the Taylor losses of the chunk at the weights, and its gradient.
        product: Returns `J' H J p` for the weights p and H at the chunk's `points`.
        moved: Returns `J p` for the weights p, `(examples, outputs)`.
        pulled: Returns the transpose of J times the chunk's `slopes`, like the weights. No weights.
        slopes: Returns the sum of the losses and its gradient at the chunk's `points`, in float64.
            No weights.
        curvature: Returns the Hessian there, `(examples, outputs, outputs)`. No weights.
    """

    def __init__(self, rounds, layer, batch_size):
        self._layer = layer
        self._loss, self._wide_loss = (ChunkLoss(rounds, batch_size, w) for w in (False, True))
        self.points = traced(self._points_of_chunk)
        self.value = traced(self._value_of_chunk)
        self.product = traced(self._product_of_chunk)
        self.moved = traced(self._moved)
        self.pulled = traced(lambda chunk: self._pulled(chunk["slopes"], chunk))
        self.slopes = traced(self._slopes_of_chunk)
        self.curvature = traced(self._curvature_of_chunk)

    def _points_of_chunk(self, weights, chunk):
        return chunk["constant"] + _like_points(self._moved(weights, chunk), chunk)

    def _value_of_chunk(self, weights, chunk):
        points = self._points_of_chunk(weights, chunk)
        with tf.GradientTape() as tape:
            tape.watch(points)
            value = self._loss(points, chunk)
        return value, self._pulled(tape.gradient(value, points), chunk)

    def _product_of_chunk(self, weights, chunk):
        moved = _like_points(self._moved(weights, chunk), chunk)
        return self._pulled(self._curved(self._loss, moved, chunk), chunk)

    def _slopes_of_chunk(self, chunk):
        points = chunk["points"]
        with tf.GradientTape() as tape:
            tape.watch(points)
            value = self._wide_loss(_like_points(points, chunk), chunk)
        return value, tape.gradient(value, points)

    def _curvature_of_chunk(self, chunk):
        points, outputs = chunk["points"], chunk["points"].shape[1]
        chunk = chunk | {"points": _like_points(points, chunk)}

        def row(output):
            move = tf.ones_like(points) * tf.one_hot(output, outputs, dtype=points.dtype)
            return by_example(self._curved(self._wide_loss, _like_points(move, chunk), chunk))

        return tf.stack([row(output) for output in range(outputs)], 1)

    def _pulled(self, upstream, chunk):
        """Returns J' times tensors like the points, tensors like the weights."""
        dtype = chunk["constant"].dtype
        zeros = [tf.zeros(weight.shape, dtype) for weight in self._layer.trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(zeros)
            moved = self._moved(zeros, chunk)
        return tape.gradient(moved, zeros, by_example(upstream))

    def _moved(self, weights, chunk):
        """Returns J times weights, `(examples, outputs)`."""
        if "rows" in chunk:
            flat = tf.concat([tf.reshape(weight, (-1,)) for weight in weights], 0)
            return tf.linalg.matvec(chunk["rows"], flat)
        names = ("kernel_tangent", "bias_tangent")
        tangents = dict(zip(names, weights, strict=False))
        moved = affine.tangent(self._layer, chunk["inputs"], **tangents)
        return tf.linalg.matvec(chunk["jacobian"], by_example(moved))

    def _curved(self, loss, moved, chunk):
        """Returns H at the points of a chunk times a move of them."""
        points = chunk["points"]
        with tf.GradientTape() as outer:
            outer.watch(points)
            with tf.GradientTape() as tape:
                tape.watch(points)
                value = loss(points, chunk)
            along = tf.reduce_sum(tape.gradient(value, points) * moved)
        return outer.gradient(along, points, unconnected_gradients="zero")


def _like_points(moved, chunk):
    return tf.reshape(moved, tf.shape(chunk["constant"]))
