"""F of an affine layer: bounds by passes through the model, curvature by what was kept of it.

A product of F's Hessian and p is `J' H J p` (see `keras_taylor.optimum.affine_features`), with H
the curvature of the loss in the outputs. On features it takes one application of the layer to p and
one gradient of its weights, or two products with J, where a pass through the model runs and
differentiates all layers. Values and gradients, from which bounds follow, come from passes through
the model in float64.
"""

import functools

import numpy as np
import tensorflow as tf

from keras_taylor.derivatives import affine
from keras_taylor.optimum import affine_features
from keras_taylor.optimum.chunks import ChunkLoss, traced
from keras_taylor.optimum.streamed import StreamedObjective
from keras_taylor.taylor.unit_losses import by_example


class AffineObjective(StreamedObjective):
    """F of a dense or convolutional layer and its derivatives.

    The features are collected before the first curvature product, which takes about as long as one
    through the model. Where there are none, all goes through the model.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        part: The `keras_taylor.weights.parts.Part`, a whole layer.
    """

    def __init__(self, rounds, part):
        super().__init__(rounds, part)
        # Collected once, and shared by all horizons.
        self._products = functools.cache(self._collected)

    def curvature_product(self, point, vector):
        products = None if self._is_precise else self._products()
        if products is None:
            return super().curvature_product(point, vector)
        kept = self._rounds.kept(self.horizon)
        return products(point, vector, kept) / self.horizon

    def _collected(self):
        features = affine_features.collect(self._rounds, self.part.layer)
        return features and CurvatureProducts(self._rounds, self.part, features)


class CurvatureProducts:
    """Products of the Hessian of a layer's F, summed over rounds, on features.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        part: The `keras_taylor.weights.parts.Part`, a whole layer.
        features: The `keras_taylor.optimum.chunks.Chunks` of the layer.
    """

    def __init__(self, rounds, part, features):
        self._part, self._features = part, features
        self._layer = rounds.affine_layer(part.layer)
        order = {id(one): place for place, one in enumerate(rounds.model.trainable_variables)}
        # Kernel and bias in the list of all weights.
        self._places = [order[id(one)] for one in self._layer.trainable_variables]
        self._still = [np.zeros(shape) for shape in part.scopes.shapes]
        self._loss = ChunkLoss(rounds, features.batch_size, wide=False)
        self._points = traced(self._points_of_chunk)
        self._product = traced(self._product_of_chunk)
        # The latest point with its rounds, and T there, which the products of one model share.
        self._at, self._found = (None, 0), []

    def __call__(self, point, vector, rounds):
        """Returns the sum over the first rounds of `J' H J p`, a vector of the part.

        Args:
            point: V, where H is taken, a vector of the part.
            vector: p.
            rounds: The number of rounds.
        """
        chunks = list(self._features.first(rounds))
        if self._at[0] is None or self._at[1] != rounds or np.any(self._at[0] != point):
            weights = self._weights(point)
            self._found = [self._points(weights, chunk) for chunk in chunks]
            self._at = point.copy(), rounds
        weights, sums = self._weights(vector), list(self._still)
        for chunk, points in zip(chunks, self._found, strict=True):
            product = self._product(weights, chunk | {"points": points})
            for place, one in zip(self._places, product, strict=True):
                sums[place] = sums[place] + one.numpy().astype("float64")
        return self._part.vector(sums)

    def _weights(self, vector):
        arrays = self._part.arrays(vector, self._still)
        dtype = self._features.chunks[0]["constant"].dtype
        return [tf.constant(arrays[place], dtype) for place in self._places]

    def _points_of_chunk(self, weights, chunk):
        return chunk["constant"] + _like_points(self._moved(weights, chunk), chunk)

    def _product_of_chunk(self, weights, chunk):
        moved = _like_points(self._moved(weights, chunk), chunk)
        curved = by_example(self._curved(moved, chunk))
        zeros = [tf.zeros_like(weight) for weight in weights]
        with tf.GradientTape() as tape:
            tape.watch(zeros)
            moved = self._moved(zeros, chunk)
        return tape.gradient(moved, zeros, curved)

    def _moved(self, weights, chunk):
        """Returns J times weights, `(examples, outputs)`."""
        if "rows" in chunk:
            flat = tf.concat([tf.reshape(weight, (-1,)) for weight in weights], 0)
            return tf.linalg.matvec(chunk["rows"], flat)
        names = ("kernel_tangent", "bias_tangent")
        tangents = dict(zip(names, weights, strict=False))
        moved = affine.tangent(self._layer, chunk["inputs"], **tangents)
        return tf.linalg.matvec(chunk["jacobian"], by_example(moved))

    def _curved(self, moved, chunk):
        """Returns H at the points of a chunk times a move of them."""
        points = chunk["points"]
        with tf.GradientTape() as outer:
            outer.watch(points)
            with tf.GradientTape() as tape:
                tape.watch(points)
                value = self._loss(points, chunk)
            along = tf.reduce_sum(tape.gradient(value, points) * moved)
        return outer.gradient(along, points, unconnected_gradients="zero")


def _like_points(moved, chunk):
    return tf.reshape(moved, tf.shape(chunk["constant"]))
