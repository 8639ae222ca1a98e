"""The Hessian of a Taylor loss, times a vector and as the covariance of random vectors.

The expansion T is linear in V, so the Hessian of `l(y, T(V))` is `J^T H J` exactly, with the
Jacobian J of the outputs at W and the Hessian H of the loss in the outputs at T(V).
"""

import tensorflow as tf
from keras import ops

from keras_taylor.derivatives import expansion
from keras_taylor.taylor.batch import expand, moved, output_loss_at


def curvature_product(batch, direction, vector):
    """Returns the Hessian of the Taylor loss at W + direction times a vector, for all weights.

    Args:
        batch: A `keras_taylor.taylor.batch.Batch`.
        direction: V - W, tensors like the weights or `None`.
        vector: Likewise.
    """
    expanded = expand(batch, [direction, vector])
    points = moved(expanded, 0)
    return expanded.pullback(_output_product(batch, expanded, points, expanded.tangents[1]))


def curvature_sample(batch, seed):
    """Returns a random list like the weights whose covariance is about the curvature at W.

    It is `J^T v` with v, for each example, the curvature H of the loss in its outputs times
    normal noise, scaled. The covariance of v has the trace of H, and is H where that is a
    multiple of a projection: for squared error, and for two classes.

    Args:
        batch: A `keras_taylor.taylor.batch.Batch`.
        seed: A scalar integer tensor.
    """
    expanded = expand(batch)
    points = expanded.points
    noise = [
        tf.random.stateless_normal(tf.shape(point), (seed, number), dtype=point.dtype)
        for number, point in enumerate(points)
    ]
    products = _output_product(batch, expanded, points, noise)
    return expanded.pullback([_rescaled(p, n) for p, n in zip(products, noise, strict=True)])


def _output_product(batch, expanded, points, vectors):
    """Returns the Hessian of the loss in the points, times a list of tensors like these."""
    with tf.GradientTape() as outer:
        outer.watch(points)
        with tf.GradientTape() as inner:
            inner.watch(points)
            value = output_loss_at(batch, expanded, points)
        gradients = expansion.gradients(inner, value, points)
        product = sum(ops.sum(g * vector) for g, vector in zip(gradients, vectors, strict=True))
    return expansion.gradients(outer, product, points)


def _rescaled(product, noise):
    """Returns `H e`, for normal e, scaled to a squared length of `<e, H e>` in each example."""
    axes = list(range(1, len(product.shape)))
    square = ops.sum(product * product, axis=axes, keepdims=True)
    trace = ops.sum(product * noise, axis=axes, keepdims=True)
    return product * ops.sqrt(ops.divide_no_nan(ops.maximum(trace, 0), square))
