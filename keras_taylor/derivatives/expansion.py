"""A model's output to first order in its weights: values, Jacobian- and vector-products.

`f(V) ~ f(W) + <df/dW, V - W>`. The functions here run a model by calling a function `forward`,
which returns the tensors to expand, so that one pass can serve training too. Nothing but the
model's own forward pass changes state.

Which way the derivative goes is decided once for each model, see `method_of`:

- `"layerwise"`: `keras_taylor.derivatives.forward_mode`, the fastest.
- `"whole"`: one `ForwardAccumulator` around the model, for mixed precision and for models in which
  tensors also go through operations that are no layers.
- `"reverse"`: two vector-products, for recurrent layers, whose loops have no forward mode.
"""

import contextlib
import inspect

import keras
import tensorflow as tf
from keras import ops

from keras_taylor import backend
from keras_taylor.derivatives.forward_mode import Trace, aside

METHODS = ("layerwise", "whole", "reverse")


def expand(
    method,
    model,
    forward,
    directions,
    primals=None,
    inputs=(),
    paused=contextlib.nullcontext,
):
    """Runs a model and returns its outputs with Jacobian-vector products along directions.

    Args:
        method: One of `METHODS`.
        model: The model.
        forward: Function without arguments that runs the model. It returns the list of tensors to
            expand, and anything else that the caller wants of the run.
        directions: A list of directions, each a list of tangents, one for each trainable variable
            of the model, with `None` for variables that do not move.
        primals: Tensors that the forward pass reads the weights from; by default the values of
            the model's trainable variables.
        inputs: The tensors that the model is given, in any structure.
        paused: Function that returns a context in which a caller's tape does not record. It is
            entered for what only products along directions need, so that an eager tape over a
            forward pass does not keep that of every direction.

    Returns:
        The list of tensors; for each direction the list of their tangents, zero where a tensor does
        not depend on the weights that move; and what else `forward` returned.
    """
    if primals is None:
        primals = [variable.value for variable in model.trainable_variables]
    if not directions:
        outputs, rest = forward()
        return outputs, [], rest
    if method == "layerwise":
        trace = Trace(model, model.trainable_variables, directions, inputs, paused)
        with trace.recording():
            outputs, rest = forward()
        found = zip(*(trace.tangents(output) for output in outputs), strict=True)
    elif method == "whole":
        outputs, found, rest = _expand_whole(model, forward, directions, primals, paused)
    else:
        outputs, found, rest = _expand_reverse(forward, directions, primals, paused)
    return outputs, [_filled(outputs, tangents) for tangents in found], rest


def pullback(forward, primals):
    """Runs a model and returns its outputs and the function `u -> J^T u`.

    Args:
        forward: As of `expand`.
        primals: Tensors that the forward pass reads the weights from.

    Returns:
        The list of tensors; a function from a list of tensors like them to a list of tensors like
        the primals, `sum over outputs of J^T u`; and what else `forward` returned.
    """
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(primals)
        outputs, rest = forward()

    return outputs, lambda upstream: gradients(tape, outputs, primals, upstream), rest


def gradients(tape, targets, sources, upstream=None):
    """Returns the gradients of a tape, dense, and zero where there is no connection."""
    zero = tf.UnconnectedGradients.ZERO
    found = tape.gradient(targets, sources, upstream, unconnected_gradients=zero)
    found = [backend.densify(gradient) for gradient in found]
    for gradient, source in zip(found, sources, strict=True):
        # A matrix product over several axes leaves them open while a graph is traced.
        gradient.set_shape(source.shape)
    return found


def call_options(model, training):
    """Returns the keyword arguments that let a model run in training mode or not, if it can."""
    return {"training": training} if "training" in inspect.signature(model.call).parameters else {}


def _expand_whole(model, forward, directions, primals, paused):
    # All directions but the first run in a scope, before it: what the model changes (moving
    # averages, seeds) and adds (losses), it does once. Weights come from the primals there too.
    variables = model.non_trainable_variables
    state = list(zip(variables, backend.snapshot(variables), strict=True))
    state += list(zip(model.trainable_variables, primals, strict=True))
    found = []
    for number in reversed(range(len(directions))):
        pairs = [
            pair for pair in zip(primals, directions[number], strict=True) if pair[1] is not None
        ]
        scope = aside(state, paused) if number else contextlib.nullcontext()
        accumulator = tf.autodiff.ForwardAccumulator(*map(list, zip(*pairs, strict=True)))
        with scope, accumulator:
            outputs, rest = forward()
        found.append([accumulator.jvp(output) for output in outputs])
    return outputs, found[::-1], rest


def _expand_reverse(forward, directions, primals, paused):
    outputs, pull, rest = pullback(forward, primals)
    with paused():
        return outputs, _products(outputs, pull, directions), rest


def _products(outputs, pull, directions):
    upstream = [tf.zeros_like(output) for output in outputs]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(upstream)
        pulled = pull(upstream)
        # Linear in `upstream`: the derivative there is the Jacobian-vector product.
        products = [_inner_product(pulled, direction) for direction in directions]
    return [tape.gradient(product, upstream) for product in products]


def _inner_product(tensors, direction):
    """Returns the sum of products with a direction, in the widest of the dtypes."""
    pairs = [(t, d) for t, d in zip(tensors, direction, strict=True) if d is not None]
    terms = [ops.sum(tensor * move) for tensor, move in pairs]
    dtype = keras.backend.result_type(*(term.dtype for term in terms))
    return sum(ops.cast(term, dtype) for term in terms)


def _filled(outputs, tangents):
    return [
        tf.zeros_like(output) if tangent is None else tangent
        for output, tangent in zip(outputs, tangents, strict=True)
    ]
