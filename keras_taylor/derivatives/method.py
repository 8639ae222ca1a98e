"""Which way the derivative of a model is computed, and whether it is right: checked once a model.

Some operations have no forward mode, and some silently have a wrong one (bilinear resizing returns
no tangent at all, beside a skip connection a part of it). So before a model is expanded, a
Jacobian-vector product on two examples is held against the gradient, `<u, J t> = <J^T u, t>`, which
catches a missing part to rounding error, and against a finite difference, which catches gradients
that are no derivatives.
"""

import functools
import warnings
import weakref
from concurrent import futures

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_taylor import backend
from keras_taylor.derivatives import expansion
from keras_taylor.derivatives.forward_mode import UnknownTensorError, hooked, leaf_layers

EXAMPLES = 2
# Stand-ins for dimensions that a model leaves open.
IMAGE_LENGTH, SEQUENCE_LENGTH = 32, 32
ADJOINT_TOLERANCE = {"float64": 1e-8, "float32": 1e-3, "float16": 0.1, "bfloat16": 0.3}
DIFFERENCE_TOLERANCE = 0.2
DIFFERENCE_STEPS = (1e-3, 1e-2, 1e-4, 1e-1)

CONTROL_FLOW = {"If", "StatelessIf", "While", "StatelessWhile", "Case", "StatelessCase"}

_methods = weakref.WeakKeyDictionary()


def method_of(model, x, training, in_variables=False):
    """Returns the method of `keras_taylor.derivatives.expansion` that suits a model, after a check.

    Args:
        model: A built model.
        x: Inputs, of which only shapes and dtypes matter while a graph is traced.
        training: Whether the model runs in training mode.
        in_variables: Whether the model reads its weights from its variables, as in training, and
            not from tensors: what control flow captures of them has no forward mode.

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
    # A layer that is frozen or thawed later changes what is differentiated, and inputs of another
    # dtype are cast on their way to the first layer.
    trainable = tuple(v.path for v in model.trainable_variables)
    kinds = tuple((t.dtype, len(t.shape)) for t in keras.tree.flatten(x) if t is not None)
    key = (training, in_variables, trainable, kinds)
    if key not in known:
        # A new thread is outside of all graphs, tapes and scopes of the caller.
        with futures.ThreadPoolExecutor(1) as executor:
            arguments = (model, _examples(model, x), training, in_variables)
            known[key] = executor.submit(_checked_method, *arguments).result()
    return known[key]


def stateless_forward(model, weights, x, training):
    """Returns a function that runs a model on given weights, changing nothing, flat outputs."""
    state = backend.snapshot(model.non_trainable_variables)

    def forward():
        options = expansion.call_options(model, training)
        outputs, _ = model.stateless_call(weights, state, x, **options)
        return keras.tree.flatten(outputs)

    return forward


def _checked_method(model, probes, training, in_variables):
    """Returns the first method that is right on the first probe with finite outputs."""
    for probe in probes:
        x = keras.tree.map_structure(ops.convert_to_tensor, probe)
        weights = backend.snapshot(model.trainable_variables)
        outputs = stateless_forward(model, weights, x, training)()
        if all(np.isfinite(np.asarray(output, "float64")).all() for output in outputs):
            return _right_method(model, x, training, in_variables)
    warnings.warn(
        f"the derivative of model {model.name!r} could not be checked: its outputs for made-up "
        "inputs are not finite",
        stacklevel=2,
    )
    return "reverse" if _is_recurrent(model) else "whole"


def _right_method(model, x, training, in_variables):
    if _is_recurrent(model) or (in_variables and _has_control_flow(model, x, training)):
        methods = ["reverse"]
    else:
        methods = ["layerwise", "whole"] if _is_traceable(model, x, training) else ["whole"]
    for method in methods:
        if _is_right(method, model, x, training, in_variables):
            return method
    culprits = _wrong_layers(model, x, training)
    # Loops and conditions have no forward mode in a graph, whichever layer they are in.
    if not culprits and _is_right("reverse", model, x, training, in_variables):
        return "reverse"
    raise ValueError(_message(model, culprits))


def _is_right(method, model, x, training, in_variables):
    """Tells whether a method's product agrees with the gradient and with a difference."""
    weights = backend.snapshot(model.trainable_variables)
    tangents = _random_like(weights, seed=1)

    @tf.function(autograph=False)
    def both(x, upstream):
        read = [v.value for v in model.trainable_variables] if in_variables else weights
        # In a graph that does not know x, as in training: nothing would be missing of loops that
        # are Python's, and of conditions that are decided while they are traced.
        run = stateless_forward(model, read, x, training)

        def forward():
            return run(), None

        # Under a tape, too, as in training: it changes what control flow records.
        with tf.GradientTape(persistent=True):
            _, (found,), _ = expansion.expand(method, model, forward, [tangents], read, x)
        return found, expansion.pullback(forward, read)[1](upstream)

    outputs = stateless_forward(model, weights, x, training)()
    upstream = _random_like(outputs, seed=2)
    try:
        # Traced once for each model: calling it would warn of retracing after five of them.
        found, gradients = both.get_concrete_function(x, upstream)(x, upstream)
    except (ValueError, LookupError, NotImplementedError):
        return False  # TensorFlow has no such derivative.
    adjoint = _inner(gradients, tangents)
    tolerance = max(ADJOINT_TOLERANCE[dtype] for dtype in _dtypes(model))
    is_adjoint = abs(_inner(upstream, found) - adjoint) <= tolerance * (_norm(found) + abs(adjoint))
    return is_adjoint and _agrees_with_difference(model, x, training, weights, tangents, found)


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


def _message(model, culprits):
    where = f"layer {', '.join(map(repr, culprits))}" if culprits else "an operation between layers"
    return (
        f"the Jacobian-vector product of model {model.name!r} is wrong: TensorFlow differentiates "
        f"{where} incompletely. Use another layer in its place (for bilinear UpSampling2D, "
        "interpolation='nearest' or a transposed convolution)"
    )


def _wrong_layers(model, x, training):
    """Returns the names of the layers whose own derivative fails the check."""
    calls = []
    hooks = hooked(leaf_layers(model), lambda layer, call: _noting(layer, call, calls))
    with keras.StatelessScope(), hooks:
        model(x, **expansion.call_options(model, training))
    return [layer.name for layer, call, args, kwargs in calls if _is_wrong(call, args, kwargs)]


def _noting(layer, call, calls):
    def noted(*args, **kwargs):
        calls.append((layer, call, args, kwargs))
        return call(*args, **kwargs)

    return noted


def _is_wrong(call, args, kwargs):
    try:
        return _is_wrong_forward(call, args, kwargs)
    except (NotImplementedError, LookupError):
        return True  # There is no forward mode at all.


def _is_wrong_forward(call, args, kwargs):
    flat = keras.tree.flatten((args, kwargs))
    moving = list({id(t): t for t in flat if tf.is_tensor(t) and t.dtype.is_floating}.values())
    if not moving:
        return False
    tangents = _random_like(moving, seed=3)
    with keras.StatelessScope(), tf.GradientTape() as tape:
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
        expansion.expand("layerwise", model, lambda: (forward(), None), [weights], weights, x)
    except UnknownTensorError:
        return False
    return True


def _is_recurrent(model):
    # Private, since a recurrent layer may be inside of another, which has no public list of them.
    recurrent = (keras.layers.RNN, keras.layers.Bidirectional)
    return any(isinstance(layer, recurrent) for layer in model._flatten_layers())


def _has_control_flow(model, x, training):
    """Tells whether loops or conditions are left in the graph of a model.

    What they capture of a variable is its handle and not its value, so that in training their
    tangents are missing without a word, even where the check passes.
    """

    @tf.function(autograph=False)
    def run(x):
        return stateless_forward(model, [v.value for v in model.trainable_variables], x, training)()

    kinds = {operation.type for operation in run.get_concrete_function(x).graph.get_operations()}
    return bool(kinds & CONTROL_FLOW)


def _examples(model, x):
    """Returns inputs to probe a model with: like x, with noise, and with positive noise."""
    declared = keras.tree.flatten(getattr(model, "inputs", None) or [])
    batch = next((t.shape[0] for t in declared if t.shape[0] is not None), EXAMPLES)
    return [
        keras.tree.map_structure(functools.partial(_example, batch=batch, noise=noise), x)
        for noise in (_noise, _positive_noise)
    ]


def _noise(shape):
    return np.random.default_rng(0).normal(size=shape)


def _positive_noise(shape):
    return np.random.default_rng(0).uniform(0.1, 1, size=shape)


def _example(tensor, batch, noise):
    """Returns an array like a tensor: noise, or ones where it has integers (valid as ids)."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    open_length = IMAGE_LENGTH if len(tensor.shape) >= 4 else SEQUENCE_LENGTH
    shape = [batch, *(open_length if n is None else n for n in tuple(tensor.shape)[1:])]
    if dtype == "string":
        return np.full(shape, "1")
    if not dtype.startswith(("float", "bfloat")):
        return np.ones(shape, dtype)
    return noise(shape).astype(dtype)


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
