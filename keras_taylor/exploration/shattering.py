"""How fast gradients change from one input to the next: shattered gradients.

In deep rectifier networks, gradients at nearby inputs are nearly uncorrelated, because there are
many kinks between the inputs. This module measures the correlation of gradients at x and x + d as
a function of |d|, and the autocorrelation of gradients along a line of inputs. The gradients are
those of an output in the input, in the output of a layer, or in the weights.

Correlations of gradient vectors are not centred: `<g, g'> / (|g| |g'|)`. A linear network, whose
gradient is the same everywhere, has correlation 1.

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


def line(first, last, points):
    """Returns inputs at equal distances on the line between two inputs.

    Args:
        first: The input at the beginning, an array of any shape.
        last: The input at the end, an array of the same shape.
        points: The number of inputs, with both ends.

    Returns:
        An array `(points, ...)`.

    Raises:
        ValueError: if the number of points is negative, or the shapes do not fit.

    Example:

    >>> line(np.array([0.0, 2.0]), np.array([4.0, 0.0]), 3)
    array([[0., 2.], [2., 1.], [4., 0.]])
    """
    share = np.linspace(0.0, 1.0, points).reshape((-1,) + (1,) * np.ndim(first))
    return (1 - share) * np.asarray(first) + share * np.asarray(last)


def input_gradients(model, x, output=0):
    """Returns the gradient of one output in the input, for each example.

    Args:
        model: A Keras model with one input and one output.
        x: The inputs, `(examples, ...)`. The model has to treat each example by itself.
        output: The number of the output in the flattened output of an example.

    Returns:
        A float64 array `(examples, size of an input)`.

    Raises:
        ValueError: if there is no such output.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    >>> model.set_weights([np.array([[3.0], [4.0]])])
    >>> input_gradients(model, np.ones((2, 2)))
    array([[3., 4.], [3., 4.]])
    """
    return layer_gradients(model, x, output, layers=())["input"]


def layer_gradients(model, x, output=0, layers=None):
    """Returns the gradients of one output in the input and in outputs of layers, by example.

    Args:
        model: A functional or Sequential model with one input and one output.
        x: The inputs, `(examples, ...)`. The model has to treat each example by itself.
        output: The number of the output in the flattened output of an example.
        layers: The names of layers; `None` for all except input layers.

    Returns:
        `{"input": (examples, size), layer: (examples, size), ...}`, float64. The gradient is zero
        in a layer that the output does not depend on.

    Raises:
        ValueError: if there is no such output or layer.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    >>> model.set_weights([np.array([[3.0], [4.0]])])
    >>> found = layer_gradients(model, np.ones((1, 2)), layers=[model.layers[0].name])
    >>> [gradient.tolist() for gradient in found.values()]
    [[[3.0, 4.0]], [[1.0]]]
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

    Args:
        model: A built Keras model with one input and one output.
        x: The inputs, `(examples, ...)`. The model has to treat each example by itself.
        output: The number of the output in the flattened output of an example.

    Returns:
        A float64 array `(examples, number of weights)`, in the model's order.

    Raises:
        ValueError: if there is no such output.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    >>> model.set_weights([np.array([[3.0], [4.0]])])
    >>> weight_gradients(model, np.array([[5.0, 6.0]]))
    array([[5., 6.]])
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
    """Returns the correlation of two lists of gradients, `<g, g'> / (|g| |g'|)` for each row.

    Args:
        one: Gradients, `(examples, size)`.
        other: Gradients of the same shape.

    Returns:
        An array `(examples,)` of numbers from -1 to 1. NaN where a gradient is zero, as at an
        input for which all rectifiers are off.

    Raises:
        ValueError: if the shapes do not fit.

    Example:

    >>> correlation([[1.0, 0.0], [1.0, 1.0]], [[0.0, 2.0], [3.0, 3.0]]).round(6)
    array([0., 1.])
    """
    one, other = np.asarray(one, float), np.asarray(other, float)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    products = np.einsum("ij,ij->i", one, other)
    return np.divide(products, norms, out=np.full(len(norms), math.nan), where=norms > 0)


def correlation_by_distance(gradients, x, distances, directions=1, seed=0):
    """Returns the correlation of gradients at x and x + d, for d of several lengths.

    The direction of d is random, from an isotropic normal distribution.

    Args:
        gradients: A function from inputs `(examples, ...)` to gradients `(examples, size)`, such
            as `lambda x: input_gradients(model, x)`.
        x: The inputs, `(examples, ...)`.
        distances: The Euclidean lengths of d, a list.
        directions: The number of random directions for each example.
        seed: The seed of the directions.

    Returns:
        An array `(examples * directions, distances)` of numbers from -1 to 1; NaN where a
        gradient is zero.

    Example:

    >>> correlation_by_distance(lambda x: x, np.array([[1.0]]), distances=[0.5, 0.25])
    array([[1., 1.]])
    """
    x = np.repeat(np.asarray(x), directions, axis=0)
    d = np.random.default_rng(seed).normal(size=x.shape)
    d /= np.sqrt(np.sum(d**2, axis=tuple(range(1, d.ndim)), keepdims=True))
    # One call for all distances: on small models, a call costs more than its arithmetic.
    found = gradients(np.concatenate([x, *(x + length * d for length in distances)]))
    here, *there = np.split(found, len(distances) + 1)
    return np.stack([correlation(here, one) for one in there], axis=1)


def autocorrelation(gradients, lags=None):
    """Returns the autocorrelation of gradients along a line.

    At each lag it is the mean over t of `<g(t), g(t + lag)>`, divided by the mean over t of
    `|g(t)|^2`; so it is 1 at lag 0.

    Args:
        gradients: Gradients, `(points, size)`, in the order of the points on the line.
        lags: The number of lags, counted from lag 0; `None` for half of the points.

    Returns:
        An array `(lags,)`; all NaN if all gradients are zero.

    Raises:
        ValueError: if there are fewer than two points, or `lags` is not from 1 to the number of
            points.

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
    """Returns the mean of curves at each place, with its 95 % confidence interval.

    The interval is Student's t over the curves. It assumes that the curves are independent (from
    several lines, units or seeds) and that their values at a place are normally distributed.
    Values that are not finite are left out.

    Args:
        curves: Values, `(curves, places)`.

    Returns:
        Three arrays `(places,)`: the mean, the lower end and the upper end. The ends are NaN
        where there are fewer than two values, the mean where there is none.

    Example:

    >>> [end.round(2).tolist() for end in band([[1.0], [2.0], [3.0]])]
    [[2.0], [-0.48], [4.48]]
    """
    curves = np.asarray(curves, float)
    is_finite = np.isfinite(curves)
    sizes = is_finite.sum(axis=0)
    total = np.where(is_finite, curves, 0.0).sum(axis=0)
    mean = np.divide(total, sizes, out=np.full(total.shape, math.nan), where=sizes > 0)
    squares = np.where(is_finite, (curves - mean) ** 2, 0.0).sum(axis=0)
    variance = np.divide(squares, sizes - 1, out=np.full(total.shape, math.nan), where=sizes > 1)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, np.maximum(sizes - 1, 1))
    half = quantile * np.sqrt(variance / np.maximum(sizes, 1))
    return mean, mean - half, mean + half


def half_width(places, curve, level=0.5):
    """Returns the place at which a curve first falls to a level, with linear interpolation.

    Args:
        places: The places of the values, `(places,)`, in increasing order.
        curve: The values, `(places,)`.
        level: The level.

    Returns:
        A number in the unit of `places`; infinite if the curve stays above the level, NaN if its
        first value is not above the level or is NaN.

    Raises:
        IndexError: if the curve has no value.

    Example:

    >>> half_width([0, 1, 2], [1.0, 0.75, 0.25])
    1.5
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
