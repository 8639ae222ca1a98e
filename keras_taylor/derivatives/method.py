"""Which way the derivative of a model is computed, and whether it is right, asked once.

Some operations have no forward mode, and some silently have a wrong one (bilinear resizing returns
no tangent at all, beside a skip connection a part of it). So before a model is expanded, its
Jacobian-vector product is held against the gradient, `<u, J t> = <J^T u, t>`, which catches a
missing part to rounding error, and layers with functions of one's own against a difference, which
catches gradients that are no derivatives. A difference of the whole model could tell neither: in
training, a deep network is chaotic in its weights and full of kinks.

The examples are those of the first batch where there is one, see `keras_taylor.derivatives.probes`.
Models of Keras' own layers are asked once for each architecture, others each.
"""

import warnings
import weakref
from concurrent import futures

import keras
import numpy as np
import tensorflow as tf

from keras_taylor import backend
from keras_taylor.derivatives import expansion, layer_checks
from keras_taylor.derivatives.architecture import architecture
from keras_taylor.derivatives.forward_mode import UnknownTensorError, cached_logits, leaf_layers
from keras_taylor.derivatives.layer_checks import is_adjoint, random_like
from keras_taylor.derivatives.probes import probes, signature
from keras_taylor.derivatives.refusals import refuse_overwritten

ADJOINT_TOLERANCE = {"float64": 1e-8, "float32": 1e-3, "float16": 0.1, "bfloat16": 0.3}

CONTROL_FLOW = {"If", "StatelessIf", "While", "StatelessWhile", "Case", "StatelessCase"}
# What TensorFlow raises where it has no such derivative.
NO_DERIVATIVE = (ValueError, LookupError, NotImplementedError)

_methods = weakref.WeakKeyDictionary()
# What was found for models of Keras' own layers, by architecture: another build is the same.
_methods_of_architectures = {}


def method_of(model, x, training, in_variables=False):
    """Returns the method of `keras_taylor.derivatives.expansion` that suits a model, after a check.

    Args:
        model: A built model.
        x: Inputs: a batch, or tensors of a graph that is traced, of which only shapes and dtypes
            matter.
        training: Whether the model runs in training mode.
        in_variables: Whether the model reads its weights from its variables, as in training, and
            not from tensors: what control flow captures of them has no forward mode.

    Raises:
        ValueError: if the model has no trainable weights, a layer writes them when it is called, is
            not differentiated right or computes in float8; the message names the layer.
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
    flat = [t for t in keras.tree.flatten(x) if t is not None]
    # Arrays and tensors of one dtype are alike.
    kinds = tuple((tf.as_dtype(t.dtype), len(t.shape)) for t in flat)
    key = (training, in_variables, trainable, kinds)
    if key not in known:
        # A new thread is outside of all graphs, tapes and scopes of the caller.
        with futures.ThreadPoolExecutor(1) as executor:
            arguments = (model, x, training, in_variables)
            known[key] = executor.submit(_method, *arguments, kinds).result()
    return known[key]


def stateless_forward(model, weights, x, training):
    """Returns a function that runs a model on given weights, changing nothing, flat outputs."""
    state = backend.snapshot(model.non_trainable_variables)

    def forward():
        options = expansion.call_options(model, training)
        outputs, _ = model.stateless_call(weights, state, x, **options)
        return keras.tree.flatten(outputs)

    return forward


def _method(model, x, training, in_variables, kinds):
    """Returns what is known of the architecture of a model, or else asks."""
    refuse_overwritten(model)
    built = architecture(model)
    key = (built, training, in_variables, kinds)
    if built is None or key not in _methods_of_architectures:
        is_known = built is not None
        method, was_checked = _checked_method(model, x, training, in_variables, is_known)
        if built is None or not was_checked:
            return method
        _methods_of_architectures[key] = method
    return _methods_of_architectures[key]


def _checked_method(model, x, training, in_variables, is_known):
    """Returns the method, and whether it was seen to be right on numbers."""
    probe = _finite_probe(model, x, training)
    if probe is not None:
        _refuse_written_weights(model, probe, training)
        untrue = layer_checks.untrue_layers(model, probe, training)
        if untrue:
            raise ValueError(_untrue_message(model, untrue))
    is_recurrent = _is_recurrent(model)
    may_be_eager = is_known and probe is not None and _is_called_alike(model)
    asks = in_variables or may_be_eager
    has_loops = is_recurrent or (asks and _has_control_flow(model, x, training))
    is_eager = may_be_eager and not has_loops
    only_reverse = is_recurrent or (in_variables and has_loops)
    for method in ["reverse"] if only_reverse else _possible_methods(model):
        if _is_right(method, model, x, probe, training, in_variables, is_eager):
            return method, probe is not None
    raise ValueError(_incomplete_message(model, probe, training))


def _finite_probe(model, x, training):
    """Returns inputs with finite outputs, `None` where there are none to be had."""
    found = probes(model, x)
    weights = backend.snapshot(model.trainable_variables)
    for probe in found:
        outputs = stateless_forward(model, weights, probe, training)()
        if all(np.isfinite(np.asarray(output, "float64")).all() for output in outputs):
            return probe
    if found:
        warnings.warn(
            f"the derivative of model {model.name!r} could not be checked: its outputs are not "
            "finite",
            stacklevel=2,
        )
    return None


def _is_called_alike(model):
    """Tells whether layers that are Keras' own compute the same in a graph and outside of it.

    Outside takes half of the time: graphs of large models take long to make. Layers with a
    `__call__` of their own do not, such as those for data, which cast what they are given in a
    graph alone.
    """
    own = keras.layers.Layer.__call__
    return all(type(layer).__call__ is own for layer in leaf_layers(model))


def _possible_methods(model):
    """Returns the methods that a model without loops may be expanded by, the fastest first."""
    is_mixed = any(layer.compute_dtype != layer.variable_dtype for layer in leaf_layers(model))
    return ["whole", "reverse"] if is_mixed else ["layerwise", "whole", "reverse"]


def _is_right(method, model, x, probe, training, in_variables, is_eager):
    """Tells whether a method can be traced, and its product agrees with the gradient."""
    weights = backend.snapshot(model.trainable_variables)
    tangents = random_like(weights, seed=1)

    def both(x, upstream):
        read = [v.value for v in model.trainable_variables] if in_variables else weights
        # In a graph that does not know x, as in training: nothing would be missing of loops that
        # are Python's, and of conditions that are decided while they are traced.
        run = stateless_forward(model, read, x, training)

        def forward():
            return _with_logits(run()), None

        # Under a tape, too, as in training: it changes what control flow records.
        with tf.GradientTape(persistent=True):
            outputs, (found,), _ = expansion.expand(method, model, forward, [tangents], read, x)
        upstream = upstream or [tf.ones_like(output) for output in outputs]
        return found, expansion.pullback(forward, read)[1](upstream)

    graph = tf.function(both, autograph=False)
    try:
        if probe is None:
            graph.get_concrete_function(signature(model, x), None)
            return not _interpolating_layers(model)
        probe = keras.tree.map_structure(_tensor, probe)
        outputs = _with_logits(stateless_forward(model, weights, probe, training)())
        upstream = random_like(outputs, seed=2)
        # Traced once for each model: calling it would warn of retracing after five of them.
        run = both if is_eager else graph.get_concrete_function(probe, upstream)
        found, gradients = run(probe, upstream)
    except (UnknownTensorError, *NO_DERIVATIVE):
        return False
    return is_adjoint(upstream, found, gradients, tangents, _tolerance(model))


def _tensor(array):
    return tf.constant(array) if isinstance(array, np.ndarray) else array


def _with_logits(outputs):
    """Returns outputs and the logits that a softmax or sigmoid left at them: points of losses."""
    logits = (cached_logits(output) for output in outputs)
    return [*outputs, *(one for one in logits if one is not None)]


def _refuse_written_weights(model, x, training):
    """Raises a ValueError where a call of the model writes trainable weights."""
    variables = model.trainable_variables
    scope = keras.StatelessScope([(v, tf.identity(v.value)) for v in variables])
    before = [scope.get_current_value(variable) for variable in variables]
    with scope:
        model(x, **expansion.call_options(model, training))
    pairs = zip(variables, before, strict=True)
    written = [v.path for v, value in pairs if scope.get_current_value(v) is not value]
    if written:
        raise ValueError(
            f"model {model.name!r} writes its trainable weights {', '.join(map(repr, written))} "
            "when it is called, as SpectralNormalization does in training: there are no weights "
            "to expand in that the step computes with. Leave that layer out, freeze its weights "
            "(`trainable = False`), or use a constraint (`kernel_constraint`) in its place"
        )


def _untrue_message(model, layers):
    return (
        f"the gradient of model {model.name!r} is not its derivative: what layer "
        f"{', '.join(map(repr, layers))} computes changes otherwise with its inputs and weights "
        "than its gradient says (tf.custom_gradient, stop_gradient). There is no first-order "
        "expansion of it: use an operation with its own derivative"
    )


def _incomplete_message(model, probe, training):
    culprits = _interpolating_layers(model)
    if probe is not None:
        culprits = layer_checks.incomplete_layers(model, probe, training)
    where = f"layer {', '.join(map(repr, culprits))}" if culprits else "the model"
    return (
        f"the Jacobian-vector product of model {model.name!r} is wrong: TensorFlow differentiates "
        f"{where} incompletely. Use another layer in its place (for bilinear UpSampling2D, "
        "interpolation='nearest' or a transposed convolution)"
    )


def _interpolating_layers(model):
    return [layer.name for layer in leaf_layers(model) if layer_checks.interpolates(layer)]


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

    graph = run.get_concrete_function(signature(model, x)).graph
    return bool({operation.type for operation in graph.get_operations()} & CONTROL_FLOW)


def _tolerance(model):
    dtypes = {*(layer.compute_dtype for layer in leaf_layers(model)), model.compute_dtype}
    # Weights may be less precise than their layer, as those of LoRA are in a float64 model.
    dtypes |= {variable.dtype for variable in model.trainable_variables}
    # Layers that look up text or categories compute in these, with no derivative.
    return max(ADJOINT_TOLERANCE[dtype] for dtype in dtypes if dtype in ADJOINT_TOLERANCE)
