"""Where a model has kinks: its rectifiers and max-pooling windows, and the side each is on.

For each example, a rectifier has a bit (on or off), or two bits if its output is bounded above:
one for each kink. A pooling window has the number of its winner, in binary. Hooks on the calls of
layers read these from the inputs and outputs of the layers during a forward pass.
"""

import dataclasses
import math

import keras
import tensorflow as tf
from keras import activations, layers, ops

from keras_taylor.derivatives.forward_mode import hooked

RECTIFIER, LEAKY, POOL, SMOOTH = "rectifier", "leaky", "pool", "smooth"
# Activation functions with a kink at zero, and the level above which they are constant.
FUNCTIONS = {activations.relu: None, activations.relu6: 6.0, activations.leaky_relu: None}
# Smooth gates, whose outputs have the sign of their inputs.
GATES = {
    activations.celu,
    activations.elu,
    activations.gelu,
    activations.hard_silu,
    activations.mish,
    activations.selu,
    activations.silu,
}
POOLS = (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
GLOBAL_POOLS = (layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D)


@dataclasses.dataclass(frozen=True)
class Reading:
    """The kinks of one call of a layer, for a batch.

    Args:
        name: The layer's name, with `:1`, `:2`, ... for its second, third, ... call.
        kind: `"rectifier"`, `"leaky"` for one that is not constant below its kink, so that it
            learns there too, `"pool"` or `"smooth"`.
        planes: A list of boolean tensors `(examples, places..., units)`: one for each kink of a
            rectifier, one for each binary digit of the number of the winner, or one that tells
            where the input of a smooth activation is positive.
    """

    name: str
    kind: str
    planes: list


def read(model, x, training=False, smooth=False):
    """Runs a model on a batch and returns a list of `Reading`, in the order of the calls.

    Args:
        model: A Keras model.
        x: The inputs of a batch, `(examples, ...)`, in the structure that the model takes.
        training: Whether the model runs in training mode.
        smooth: Whether smooth activations (GELU, SiLU, ELU and the like) count, too.

    Returns:
        A list of `Reading`.

    Raises:
        ValueError: if no rectifier is found; the message says what to do.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.ReLU(name="relu")])
    >>> (reading,) = read(model, np.array([[-1.0], [2.0]]))
    >>> reading.name, reading.planes[0].numpy().tolist()
    ('relu', [[False], [True]])
    """
    if not model.built:
        # Building calls the layers on placeholders, so it comes before the hooks.
        model(x, training=training)
    readings = []

    def wrap(layer, call):
        reader = _reader(layer) or (_smooth_reader(layer) if smooth else None)
        if reader is None:
            return call

        def reading_call(inputs, *args, **kwargs):
            outputs = call(inputs, *args, **kwargs)
            kind, planes = reader(_last(layer, inputs), _last(layer, outputs))
            calls = sum(r.name.partition(":")[0] == layer.name for r in readings)
            name = f"{layer.name}:{calls}" if calls else layer.name
            readings.append(Reading(name, kind, planes))
            return outputs

        return reading_call

    with hooked(_reachable(model), wrap):
        model(x, training=training)
    if not readings:
        raise ValueError(_missing_message(model, smooth))
    return readings


def _missing_message(model, smooth):
    gates = [] if smooth else [x.name for x in _reachable(model) if _smooth_reader(x) is not None]
    hint = (
        f"Activations of {', '.join(map(repr, gates))} are smooth and have no kinks; what can be "
        "told is on which side of zero their inputs are: ask for it by `smooth=True`"
        if gates
        else "Functions that your own `call` applies cannot be seen: make them layers, kept as "
        "attributes"
    )
    return (
        f"no rectifier was found in model {model.name!r}: expected ReLU, LeakyReLU, PReLU, "
        f"max-pooling, or activation='relu' (or 'relu6', 'leaky_relu') in its layers. {hint}"
    )


def _reachable(model):
    """Returns all layers in a model except those that run inside loops.

    A layer that is the activation of another counts as part of that one.
    """
    looped = {
        id(inner)
        for layer in model._flatten_layers()
        if isinstance(layer, (layers.RNN, layers.Wrapper))
        for inner in layer._flatten_layers(include_self=False)
    }
    found = {id(layer): layer for layer in model._flatten_layers(include_self=False)}
    inner = {id(getattr(layer, "activation", None)) for layer in found.values()}
    return [
        layer
        for number, layer in found.items()
        if number not in looped | inner and not isinstance(layer, keras.Model)
    ]


def _reader(layer):
    """Returns a function from a layer's inputs and outputs to kind and planes, or `None`."""
    if isinstance(layer, layers.ReLU):
        return lambda inputs, _: (_kind(layer), _relu_planes(layer, inputs))
    if isinstance(layer, (layers.LeakyReLU, layers.PReLU)):
        return lambda inputs, _: (LEAKY, [inputs > 0])
    if isinstance(layer, POOLS):
        return lambda inputs, _: (POOL, _fused_winners(layer, inputs))
    if isinstance(layer, GLOBAL_POOLS):
        return lambda inputs, _: (POOL, _digits(*_global_winners(inputs)))
    activation = getattr(layer, "activation", None)
    if isinstance(layer, layers.RNN) or activation is None:
        return None
    if isinstance(activation, (layers.ReLU, layers.LeakyReLU, layers.PReLU)):
        level = getattr(activation, "max_value", None)
    elif activation in FUNCTIONS:
        level = FUNCTIONS[activation]
    else:
        return None
    return lambda _, outputs: (_kind(activation), _output_planes(outputs, level))


def _kind(activation):
    """Returns whether a rectifier is leaky, a layer or a function of `FUNCTIONS`."""
    is_layer = isinstance(activation, (layers.LeakyReLU, layers.PReLU))
    is_leaky = is_layer or activation is activations.leaky_relu
    return LEAKY if is_leaky or getattr(activation, "negative_slope", 0) else RECTIFIER


def _smooth_reader(layer):
    """Returns a function as of `_reader` for a layer with a smooth gate, or `None`."""
    activation = getattr(layer, "activation", None)
    own = getattr(activation, "activation", activation)
    is_gate = isinstance(layer, layers.ELU) or isinstance(activation, layers.ELU) or own in GATES
    if isinstance(layer, layers.RNN) or not is_gate:
        return None
    return lambda _, outputs: (SMOOTH, [outputs > 0])


def _relu_planes(layer, inputs):
    planes = [inputs > ops.cast(layer.threshold, inputs.dtype)]
    if layer.max_value is not None:
        planes.append(inputs >= ops.cast(layer.max_value, inputs.dtype))
    return planes


def _output_planes(outputs, level):
    # The output is positive where the input is, and equals the level where the input exceeds it.
    planes = [outputs > 0]
    return planes if level is None else [*planes, outputs >= ops.cast(level, outputs.dtype)]


def _fused_winners(layer, inputs):
    # In a graph, XLA fuses the many passes over the inputs into one.
    if tf.executing_eagerly():
        return _winners(layer, inputs)
    return tf.function(lambda tensor: _winners(layer, tensor), jit_compile=True)(inputs)


def _winners(layer, inputs):
    """Returns the digits of the number of the largest entry in each window."""
    window, strides = layer.pool_size, layer.strides
    if layer.padding == "same":
        inputs = _padded(inputs, window, strides)
    lengths = [
        (length - size) // stride + 1
        for length, size, stride in zip(inputs.shape[1:-1], window, strides, strict=True)
    ]
    candidates = []
    for offset in _offsets(window):
        cuts = [
            slice(first, first + (length - 1) * stride + 1, stride)
            for first, length, stride in zip(offset, lengths, strides, strict=True)
        ]
        candidates.append(inputs[(slice(None), *cuts)])
    return _tournament(candidates)


def _tournament(values):
    """Returns the digits of the number of the largest of several tensors, element by element.

    Of equal values the first wins. Neighbours are compared, then the winners of neighbours, and
    so on; each turn gives one digit. XLA fuses all turns, because they act on single elements.
    """
    entries = [(value, []) for value in values]
    while len(entries) > 1:
        pairs = list(zip(entries[::2], entries[1::2], strict=False))
        left_over = entries[len(pairs) * 2 :]
        entries = [_match(*pair) for pair in pairs]
        entries += [
            (value, [*digits, ops.zeros_like(value, "bool")]) for value, digits in left_over
        ]
    return entries[0][1] or [ops.zeros_like(values[0], "bool")]


def _match(first, second):
    is_second = second[0] > first[0]
    digits = [ops.where(is_second, b, a) for a, b in zip(first[1], second[1], strict=True)]
    return ops.maximum(first[0], second[0]), [*digits, is_second]


def _offsets(window):
    if not window:
        return [()]
    return [(first, *rest) for first in range(window[0]) for rest in _offsets(window[1:])]


def _padded(inputs, window, strides):
    paddings = [(0, 0)]
    for length, size, stride in zip(inputs.shape[1:-1], window, strides, strict=True):
        total = max((-(-length // stride) - 1) * stride + size - length, 0)
        paddings.append((total // 2, total - total // 2))
    lowest = inputs.dtype.min
    return tf.pad(inputs, [*paddings, (0, 0)], constant_values=lowest)


def _global_winners(inputs):
    places = math.prod(inputs.shape[1:-1])
    flat = ops.reshape(inputs, (-1, places, inputs.shape[-1]))
    return ops.argmax(flat, axis=1), places


def _digits(numbers, bound):
    """Returns the binary digits of numbers below a bound, as boolean tensors."""
    return [
        ops.not_equal(ops.bitwise_and(numbers, 1 << digit), 0)
        for digit in range(max(1, (bound - 1).bit_length()))
    ]


def _last(layer, tensor):
    """Returns a tensor with its channels last."""
    if getattr(layer, "data_format", None) != "channels_first":
        return tensor
    return ops.moveaxis(tensor, 1, -1)
