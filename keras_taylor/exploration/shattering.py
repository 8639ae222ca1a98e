"""How fast gradients change from one input to the next: shattered gradients.

Gradients of deep rectifier networks at nearby inputs are nearly uncorrelated, since there is a kink
at every turn. Measured here: the correlation of gradients at x and x + d as a function of |d|, and
the autocorrelation of gradients along a line of inputs; of the output with respect to the input, to
a layer's output, or to the weights.

Correlations are those of gradient vectors g(x), g(x'), not centred: `<g, g'> / (|g| |g'|)`, so that
a linear network, whose gradient is the same everywhere, has correlation 1.

Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017, for the claim;
the measures are a reconstruction.
"""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from scipy import stats

CONFIDENCE = 0.95


def line(start, end, points):
    """Returns inputs evenly spread over the line between two of them, `(points, ...)`."""
    share = np.linspace(0.0, 1.0, points).reshape((-1,) + (1,) * np.ndim(start))
    return (1 - share) * np.asarray(start) + share * np.asarray(end)


def input_gradients(model, x, output=0):
    """Returns the gradient of one output in the input, for each example.

    Args:
        model: A Keras model with one input and one output.
        x: Inputs, `(examples, ...)`; each is treated by itself.
        output: Number of the output, flattened.

    Returns:
        An array `(examples, size of an input)`.

    Raises:
        ValueError: if there is no such output.
    """
    return layer_gradients(model, x, output, layers=())["input"]


def layer_gradients(model, x, output=0, layers=None):
    """Returns the gradients of one output in the input and in layers' outputs.

    Args:
        model: A functional or Sequential model with one input and one output.
        x: Inputs, `(examples, ...)`.
        output: Number of the output, flattened.
        layers: Names of layers; by default all but those for inputs.

    Returns:
        `{"input": (examples, size), layer: (examples, size)}`; zero behind a layer that the output
        does not depend on.
    """
    if layers is None:
        layers = [
            layer.name for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)
        ]
    inner = model
    if layers:
        outputs = [model.get_layer(name).output for name in layers]
        inner = keras.Model(model.inputs, [*outputs, model.outputs[0]])
    x = ops.cast(ops.convert_to_tensor(x), model.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        found = inner(x, training=False)
        found = found if isinstance(found, (list, tuple)) else [found]
        chosen = _column(found[-1], output)
    zero = tf.UnconnectedGradients.ZERO
    gradients = tape.gradient(chosen, [x, *found[:-1]], unconnected_gradients=zero)
    return {
        name: np.asarray(ops.cast(g, "float64")).reshape(len(g), -1)
        for name, g in zip(("input", *layers), gradients, strict=True)
    }


def weight_gradients(model, x, output=0):
    """Returns the gradient of one output in all trainable weights, for each example.

    Returns:
        An array `(examples, weights)`.
    """
    x = ops.cast(ops.convert_to_tensor(x), model.compute_dtype)
    weights = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        chosen = _column(model(x, training=False), output)
    zero = tf.UnconnectedGradients.ZERO
    found = tape.jacobian(chosen, weights, unconnected_gradients=zero)
    flat = [np.asarray(ops.cast(g, "float64")).reshape(len(g), -1) for g in found]
    return np.concatenate(flat, axis=1)


def correlation(one, other):
    """Returns the correlation of two lists of gradients, row by row: `(examples,)`.

    NaN where a gradient is zero, as for an input at which all rectifiers are off.
    """
    one, other = np.asarray(one, float), np.asarray(other, float)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    products = np.einsum("ij,ij->i", one, other)
    return np.divide(products, norms, out=np.full(len(norms), math.nan), where=norms > 0)


def correlation_by_distance(gradients, x, distances, directions=1, seed=0):
    """Returns the correlation of gradients at x and x + d, for d of several lengths.

    Args:
        gradients: Function from inputs `(examples, ...)` to gradients `(examples, size)`, such as
            `lambda x: input_gradients(model, x)`.
        x: Inputs, `(examples, ...)`.
        distances: Euclidean lengths of d.
        directions: Random directions for each example.
        seed: Seed of the directions.

    Returns:
        An array `(examples * directions, distances)`.
    """
    x = np.repeat(np.asarray(x), directions, axis=0)
    d = np.random.default_rng(seed).normal(size=x.shape)
    d /= np.sqrt(np.sum(d**2, axis=tuple(range(1, d.ndim)), keepdims=True))
    # One call for all of them: each costs more than the arithmetic on small models.
    found = gradients(np.concatenate([x, *(x + length * d for length in distances)]))
    here, *there = np.split(found, len(distances) + 1)
    return np.stack([correlation(here, one) for one in there], axis=1)


def autocorrelation(gradients, lags=None):
    """Returns the autocorrelation of gradients along a line, `(lags,)`.

    `mean over t of <g(t), g(t + lag)> / mean of |g|^2`: 1 at lag 0.

    Args:
        gradients: `(points, size)`, in the order of the line.
        lags: How many lags, from 0 on; by default half of the points.

    Returns:
        NaN throughout where all gradients are zero.

    Raises:
        ValueError: if there are fewer than two points, or not more points than lags.

    Example:

    >>> autocorrelation(np.array([[1.0], [-1.0], [1.0], [-1.0]]), lags=3)
    array([ 1., -1.,  1.])
    """
    gradients = np.asarray(gradients, float)
    lags = len(gradients) // 2 if lags is None else lags
    if len(gradients) < 2 or not 0 < lags <= len(gradients):
        raise ValueError(
            f"{len(gradients)} points on the line and {lags} lags: expected at least two points, "
            "and lags from 1 to the number of points"
        )
    power = np.mean(np.sum(gradients**2, axis=1))
    products = [
        np.mean(np.sum(gradients[: len(gradients) - lag] * gradients[lag:], axis=1))
        for lag in range(lags)
    ]
    return np.asarray(products) / power if power > 0 else np.full(lags, math.nan)


def band(curves):
    """Returns the mean of curves and its 95 % confidence interval at each place.

    By Student's t over the curves, which are to be independent: of several lines, units, seeds.
    Values that are no number are left out.

    Args:
        curves: `(curves, places)`.

    Returns:
        Three arrays `(places,)`: mean, lower and upper end; the ends are NaN for fewer than two
        curves.
    """
    curves = np.asarray(curves, float)
    count = np.isfinite(curves).sum(axis=0)
    total = np.where(np.isfinite(curves), curves, 0.0).sum(axis=0)
    mean = np.divide(total, count, out=np.full(total.shape, math.nan), where=count > 0)
    squares = np.where(np.isfinite(curves), (curves - mean) ** 2, 0.0).sum(axis=0)
    variance = np.divide(squares, count - 1, out=np.full(total.shape, math.nan), where=count > 1)
    spread = stats.t.ppf((1 + CONFIDENCE) / 2, np.maximum(count - 1, 1)) * np.sqrt(
        variance / np.maximum(count, 1)
    )
    return mean, mean - spread, mean + spread


def half_width(places, curve, level=0.5):
    """Returns where a curve that starts above a level first falls to it, between places linearly.

    Infinite where it never does; NaN where it starts below or is no number.
    """
    places, curve = np.asarray(places, float), np.asarray(curve, float)
    if not curve[0] > level:
        return math.nan
    below = np.flatnonzero(curve <= level)
    if not len(below):
        return math.inf
    last = below[0]
    share = (curve[last - 1] - level) / (curve[last - 1] - curve[last])
    return float(places[last - 1] + share * (places[last] - places[last - 1]))


def _column(outputs, number):
    flat = ops.reshape(outputs, (-1, math.prod(outputs.shape[1:])))
    if not 0 <= number < flat.shape[1]:
        raise ValueError(f"unknown output {number}: the model has {flat.shape[1]}")
    return flat[:, number]
