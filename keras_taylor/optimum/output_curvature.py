"""Slope and curvature of a quadratic loss in single outputs, where it is a sum over these."""

import tensorflow as tf

# How far the loss may be from a sum of losses of single outputs, relative to its change of slope.
APART = 1e-9


def by_output(slopes, points):
    """Returns slope and curvature of a quadratic loss in each output, and whether they say it all.

    They do where the loss is a sum over outputs: then its change of slope along a random move is
    the curvature times the move.

    Args:
        slopes: Function from points to the gradient of the loss there.
        points: The outputs, a float64 tensor.

    Returns:
        Two tensors like the points, and a boolean tensor.
    """
    move = tf.random.stateless_normal(tf.shape(points), (0, 1), dtype=points.dtype)
    slope = slopes(points)
    curvature, moved = slopes(points + 1) - slope, slopes(points + move) - slope
    error = tf.norm(moved - curvature * move)
    return slope, curvature, error <= APART * tf.norm(moved)
