"""Once for each model: which way its derivative goes, and whether it is right.

Some operations have no forward mode, and some silently have a wrong one (bilinear resizing returns
no tangent at all, beside a skip connection a part of it). So before a model is expanded, a
Jacobian-vector product on two examples is held against the gradient, `<u, J t> = <J^T u, t>`, which
catches a missing part to rounding error, and against a finite difference, which catches gradients
that are no derivatives.
"""

import weakref
from concurrent import futures

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_taylor import backend, expansion
from keras_taylor.forward_mode import UnknownTensorError, hooked, leaf_layers

EXAMPLES = 2
# Stand-ins for dimensions that a model leaves open.
IMAGE_LENGTH, SEQUENCE_LENGTH = 32, 8
ADJOINT_TOLERANCE = {"float64": 1e-8, "float32": 1e-3, "float16": 0.1, "bfloat16": 0.3}
DIFFERENCE_TOLERANCE = 0.2
DIFFERENCE_STEPS = (1e-3, 1e-2, 1e-4, 1e-1)

_methods = weakref.WeakKeyDictionary()


def method_of(model, x, training):
    """Returns the method of `keras_taylor.expansion` that suits a model, after a check.

    Args:
        model: A built model.
        x: Inputs, of which only shapes and dtypes matter while a graph is traced.
        training: Whether the model runs in training mode.

    Raises:
        ValueError: if the model has no trainable weights, or a layer is not differentiated right;
            the message names the layer.
    """
    if not model.trainable_variables:
        raise ValueError(
            f"model {model.name!r} has no trainable weights to expand in: build it, and set "
            "`trainable = True` on the layers to look at"
        )
    known = _methods.setdefault(model, {})
    # A layer that is frozen or thawed later changes what is differentiated.
    key = (training, tuple(v.path for v in model.trainable_variables))
    if key not in known:
        # A thread of its own is outside of all graphs, tapes and scopes that we are called in.
        with futures.ThreadPoolExecutor(1) as executor:
            example = keras.tree.map_structure(_example, x)
            known[key] = executor.submit(_checked_method, model, example, training).result()
    return known[key]


def stateless_forward(model, weights, x, training):
    """Returns a function that runs a model on given weights, changing nothing, flat outputs."""
    state = backend.snapshot(model.non_trainable_variables)

    def forward():
        options = expansion.call_options(model, training)
        outputs, _ = model.stateless_call(weights, state, x, **options)
        return keras.tree.flatten(outputs)

    return forward


def _checked_method(model, x, training):
    x = keras.tree.map_structure(ops.convert_to_tensor, x)
    if _is_recurrent(model):
        method = "reverse"
    else:
        method = "layerwise" if _is_traceable(model, x, training) else "whole"
    weights = backend.snapshot(model.trainable_variables)
    tangents = _random_like(weights, seed=1)
    forward = stateless_forward(model, weights, x, training)
    _, (found,) = expansion.expand(method, model, forward, [tangents], weights, x)
    outputs, pull = expansion.pullback(forward, weights)
    upstream = _random_like(outputs, seed=2)
    adjoint = _inner(pull(upstream), tangents)
    tolerance = max(ADJOINT_TOLERANCE[dtype] for dtype in _dtypes(model))
    size = _norm(found) + abs(adjoint)
    right = abs(_inner(upstream, found) - adjoint) <= tolerance * size
    if not right or not _agrees_with_difference(model, x, training, weights, tangents, found):
        raise ValueError(_message(model, x, training))
    return method


def _agrees_with_difference(model, x, training, weights, tangents, found):
    scale = _norm(weights) / _norm(tangents)
    for step in DIFFERENCE_STEPS:
        above, below = (
            stateless_forward(model, _moved(weights, tangents, length), x, training)()
            for length in (step * scale, -step * scale)
        )
        difference = [
            (np.asarray(a, "float64") - np.asarray(b, "float64")) / (2 * step * scale)
            for a, b in zip(above, below, strict=True)
        ]
        error = _norm(
            [d - np.asarray(f, "float64") for d, f in zip(difference, found, strict=True)]
        )
        # Kinks and rounding spoil single steps; a missing part of a derivative spoils all.
        if error <= DIFFERENCE_TOLERANCE * _norm(found) + 1e-12:
            return True
    return False


def _moved(weights, tangents, length):
    return [w + ops.cast(length, w.dtype) * t for w, t in zip(weights, tangents, strict=True)]


def _message(model, x, training):
    culprits = _wrong_layers(model, x, training)
    where = f"layer {', '.join(map(repr, culprits))}" if culprits else "an operation between layers"
    return (
        f"the Jacobian-vector product of model {model.name!r} is wrong: TensorFlow differentiates "
        f"{where} incompletely. Use another layer in its place (for bilinear UpSampling2D, "
        "interpolation='nearest' or a transposed convolution)"
    )


def _wrong_layers(model, x, training):
    """Returns the names of the layers whose own derivative fails the check."""
    calls = []
    with hooked(leaf_layers(model), lambda layer, call: _noting(layer, call, calls)):
        model(x, **expansion.call_options(model, training))
    return [layer.name for layer, call, args, kwargs in calls if _is_wrong(call, args, kwargs)]


def _noting(layer, call, calls):
    def noted(*args, **kwargs):
        calls.append((layer, call, args, kwargs))
        return call(*args, **kwargs)

    return noted


def _is_wrong(call, args, kwargs):
    flat = keras.tree.flatten((args, kwargs))
    moving = list({id(t): t for t in flat if tf.is_tensor(t) and t.dtype.is_floating}.values())
    if not moving:
        return False
    tangents = _random_like(moving, seed=3)
    state = keras.StatelessScope()
    with state, tf.GradientTape() as tape:
        tape.watch(moving)
        with tf.autodiff.ForwardAccumulator(moving, tangents) as accumulator:
            outputs = [t for t in keras.tree.flatten(call(*args, **kwargs)) if t.dtype.is_floating]
        found = [accumulator.jvp(output) for output in outputs]
    found = [tf.zeros_like(o) if f is None else f for o, f in zip(outputs, found, strict=True)]
    upstream = _random_like(outputs, seed=4)
    adjoint = _inner(expansion.gradients(tape, outputs, moving, upstream), tangents)
    return abs(_inner(upstream, found) - adjoint) > 1e-2 * (_norm(found) + abs(adjoint))


def _is_traceable(model, x, training):
    """Tells whether every tensor that matters in a model goes from layer to layer."""
    if any(layer.compute_dtype != layer.variable_dtype for layer in leaf_layers(model)):
        return False
    weights = backend.snapshot(model.trainable_variables)
    forward = stateless_forward(model, weights, x, training)
    try:
        expansion.expand("layerwise", model, forward, [weights], weights, x)
    except UnknownTensorError:
        return False
    return True


def _is_recurrent(model):
    recurrent = (keras.layers.RNN, keras.layers.Bidirectional)
    return any(isinstance(layer, recurrent) for layer in leaf_layers(model))


def _example(tensor):
    """Returns an array of noise like a tensor, with two examples; zeros where it has integers."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    open_length = IMAGE_LENGTH if len(tensor.shape) >= 4 else SEQUENCE_LENGTH
    shape = [EXAMPLES, *(open_length if n is None else n for n in tuple(tensor.shape)[1:])]
    if not dtype.startswith(("float", "bfloat")):
        return np.zeros(shape, dtype)
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def _random_like(tensors, seed):
    generator = np.random.default_rng(seed)
    return [tf.cast(generator.normal(size=tuple(t.shape)), t.dtype) for t in tensors]


def _dtypes(model):
    return {*(layer.compute_dtype for layer in leaf_layers(model)), model.compute_dtype}


def _inner(first, second):
    pairs = zip(first, second, strict=True)
    return sum(np.vdot(np.asarray(a, "float64"), np.asarray(b, "float64")) for a, b in pairs)


def _norm(tensors):
    return np.sqrt(_inner(tensors, tensors))
