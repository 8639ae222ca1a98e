"""Whether single layers are differentiated right, each asked at the inputs that it is given.

Two questions, for layers that move with the weights:

- Is the Jacobian-vector product complete? `<u, J t> = <J^T u, t>`, to rounding error.
- Is the gradient a derivative? `<u, (f(x + h t) - f(x - h t)) / 2h> = <J^T u, t>` with u zero at
  outputs whose difference still changes with h, which have a kink nearby or are too curved. Layers
  of Keras itself are not asked: only a function of one's own can have another gradient.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_taylor.derivatives import expansion
from keras_taylor.derivatives.forward_mode import hooked, leaf_layers

COMPLETE_TOLERANCE = 1e-2
DIFFERENCE_STEPS = (1e-2, 1e-3, 1e-1)
# How much a difference may change with its step, and be off from the gradient, relatively.
SETTLED, DIFFERENCE_TOLERANCE = 0.05, 0.2
# Operations whose gradient is none on purpose.
STOPPING = {"StopGradient", "stop_gradient"}
NO_DERIVATIVE = (NotImplementedError, LookupError, ValueError)


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer, as a function of the tensors and weights that move.

    Args:
        layer: The layer.
        function: Its `call`.
        arguments: Positional and keyword arguments of the call.
        inputs: The floating-point tensors among these that may move.
    """

    layer: keras.layers.Layer
    function: Callable
    arguments: tuple
    inputs: list

    @property
    def weights(self):
        """The trainable weights of the layer; an operation has none."""
        return getattr(self.layer, "trainable_variables", [])

    @property
    def moving(self):
        """The tensors and values of weights that move, a list."""
        return [*self.inputs, *(variable.value for variable in self.weights)]

    def __call__(self, moved):
        """Returns the floating-point outputs with other values in place of `moving`; no state."""
        replaced = {id(old): new for old, new in zip(self.inputs, moved, strict=False)}
        arguments, options = keras.tree.map_structure(
            lambda value: replaced.get(id(value), value), self.arguments
        )
        weights = moved[len(self.inputs) :]
        state = list(zip(self.weights, weights, strict=True))
        with keras.StatelessScope(state):
            outputs = keras.tree.flatten(self.function(*arguments, **options))
        return [output for output in outputs if _is_floating(output)]


def incomplete_layers(model, x, training, asked=lambda layer: True):
    """Returns the names of the layers without a complete Jacobian-vector product."""
    calls = _calls(model, x, training, asked)
    return _names(call for call in calls if not _is_complete(call))


def untrue_layers(model, x, training):
    """Returns the names of the layers whose gradient is not the derivative."""
    calls = _calls(model, x, training, lambda layer: not is_of_keras(layer))
    return _names(call for call in calls if not _is_derivative(call))


def interpolates(layer):
    """Tells whether a layer interpolates, of which TensorFlow silently has no forward mode."""
    return getattr(layer, "interpolation", "nearest") != "nearest"


def _names(calls):
    return list(dict.fromkeys(call.layer.name for call in calls))


def _calls(model, x, training, asked):
    """Returns the calls of the layers that are asked for and move, in one run of the model."""
    calls, still = [], {id(t): t for t in keras.tree.flatten(x)}
    watched = {id(layer): layer for layer in [*leaf_layers(model), *operations(model)]}
    watched |= {id(own): own for own in _models_with_own_call(model)}
    if not any(map(asked, watched.values())):
        return []
    wrap = _noting(calls, still, asked)
    with keras.StatelessScope(), hooked(list(watched.values()), wrap):
        model(x, **expansion.call_options(model, training))
    return calls


def _noting(calls, still, asked):
    def wrap(layer, function):
        def noted(*args, **kwargs):
            flat = {id(t): t for t in keras.tree.flatten((args, kwargs)) if _is_floating(t)}
            inputs = [tensor for number, tensor in flat.items() if number not in still]
            moves = bool(inputs or getattr(layer, "trainable_variables", ()))
            if moves and asked(layer):
                calls.append(Call(layer, function, (args, kwargs), inputs))
            outputs = function(*args, **kwargs)
            if not moves:
                still.update({id(t): t for t in keras.tree.flatten(outputs)})
            return outputs

        return noted

    return wrap


def operations(model):
    """Returns the operations of functional models that are no layers."""
    models = [m for m in model._flatten_layers() if isinstance(m, keras.Model)]
    return [
        operation
        for each in models
        for operation in getattr(each, "operations", [])
        if not isinstance(operation, keras.layers.Layer)
    ]


def _models_with_own_call(model):
    models = [m for m in model._flatten_layers() if isinstance(m, keras.Model)]
    return [m for m in models if not is_keras(type(m).call)]


def _is_complete(call):
    moving = call.moving
    tangents = random_like(moving, seed=3)
    try:
        with tf.GradientTape() as tape:
            tape.watch(moving)
            with tf.autodiff.ForwardAccumulator(moving, tangents) as accumulator:
                outputs = call(moving)
            found = [accumulator.jvp(output) for output in outputs]
        found = [tf.zeros_like(o) if f is None else f for o, f in zip(outputs, found, strict=True)]
        upstream = random_like(outputs, seed=4)
        gradients = expansion.gradients(tape, outputs, moving, upstream)
    except NO_DERIVATIVE:
        return False
    return is_adjoint(upstream, found, gradients, tangents, COMPLETE_TOLERANCE)


def _is_derivative(call):
    """Tells whether gradients agree with a difference, or no step can tell.

    The step counts at which most outputs are settled; large ones smooth what is not smooth.
    """
    moving = call.moving
    tangents = [_size(value) * t for value, t in zip(moving, random_like(moving, 5), strict=True)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(moving)
        outputs = call(moving)
    answers = [_agrees(call, tape, outputs, moving, tangents, step) for step in DIFFERENCE_STEPS]
    settled, _ = max(answers)
    return not settled or (settled, True) in answers


def _agrees(call, tape, outputs, moving, tangents, step):
    """Returns how many outputs are settled at a step, and whether gradients agree with these."""
    coarse, fine = (_difference(call, moving, tangents, length) for length in (step, step / 2))
    settled = [
        np.abs(one - other) <= SETTLED * np.maximum(np.abs(one), np.abs(other))
        for one, other in zip(coarse, fine, strict=True)
    ]
    number = sum(int(np.sum(mask)) for mask in settled)
    fine = [mask * one for mask, one in zip(settled, fine, strict=True)]
    rounding = np.finfo("float32").eps * norm(outputs) / step
    signs = [mask * np.sign(n) for mask, n in zip(settled, random_like(outputs, 6), strict=True)]
    agrees = all(
        abs(inner(upstream, fine) - _pulled(tape, outputs, moving, tangents, upstream))
        <= DIFFERENCE_TOLERANCE * length * norm(fine) + 10 * length * rounding
        for upstream, length in ((signs, 1.0), (fine, norm(fine)))
    )
    return number, agrees


def _pulled(tape, outputs, moving, tangents, upstream):
    upstream = [tf.cast(u, o.dtype) for u, o in zip(upstream, outputs, strict=True)]
    return inner(expansion.gradients(tape, outputs, moving, upstream), tangents)


def _difference(call, moving, tangents, step):
    above, below = (
        call([w + tf.cast(length, w.dtype) * t for w, t in zip(moving, tangents, strict=True)])
        for length in (step, -step)
    )
    return [
        (np.asarray(a, "float64") - np.asarray(b, "float64")) / (2 * step)
        for a, b in zip(above, below, strict=True)
    ]


def _size(value):
    """Returns the root mean square of a tensor, or one where it is zero."""
    size = tf.sqrt(tf.reduce_mean(tf.square(value)))
    return tf.where(size > 0, size, tf.ones_like(size))


def is_of_keras(layer):
    """Tells whether a layer, all layers in it and their activations are Keras' own."""
    if not isinstance(layer, keras.layers.Layer):
        return is_keras(type(layer))
    inside = layer._flatten_layers()
    return all(
        is_keras(type(each))
        and not isinstance(each, keras.layers.Lambda)
        and all(is_keras(vars(each)[name]) for name in vars(each) if name.endswith("activation"))
        for each in inside
    )


def is_keras(thing):
    """Tells whether a class or function is Keras' or TensorFlow's, and no stop of gradients."""
    if getattr(thing, "__name__", None) in STOPPING:
        return False
    module = getattr(thing, "__module__", None) or ""
    return thing is None or module.partition(".")[0] in ("keras", "tensorflow")


def _is_floating(value):
    return tf.is_tensor(value) and value.dtype.is_floating


def random_like(tensors, seed):
    """Returns normal noise of the shapes and dtypes of tensors."""
    generator = np.random.default_rng(seed)
    return [tf.cast(generator.normal(size=tuple(t.shape)), t.dtype) for t in tensors]


def is_adjoint(upstream, products, gradients, tangents, tolerance):
    """Tells whether `<u, J t> = <J^T u, t>`, relative to the terms of both sides."""
    terms = [inner([g], [t]) for g, t in zip(gradients, tangents, strict=True)]
    size = norm(products) + sum(map(abs, terms))
    return bool(abs(inner(upstream, products) - sum(terms)) <= tolerance * size)


def inner(first, second):
    """Returns the inner product of two lists of tensors, in float64."""
    pairs = zip(first, second, strict=True)
    return sum(np.vdot(np.asarray(a, "float64"), np.asarray(b, "float64")) for a, b in pairs)


def norm(tensors):
    """Returns the Euclidean norm of a list of tensors."""
    return np.sqrt(inner(tensors, tensors))
