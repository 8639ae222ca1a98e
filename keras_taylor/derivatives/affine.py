"""Layers `z = op(input, kernel) + bias`, then an activation, where `op` is linear in both."""

import threading

import keras
import tensorflow as tf
from keras import ops

AFFINE_LAYERS = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
)


def is_affine(layer):
    """Tells whether a layer is dense or convolutional, channels last and as Keras made it."""
    return (
        type(layer) in AFFINE_LAYERS
        and getattr(layer, "data_format", "channels_last") == "channels_last"
        and getattr(layer, "padding", "valid") != "causal"
        and not isinstance(layer.activation, keras.layers.Layer)
        and not getattr(layer, "lora_enabled", False)
        and getattr(layer, "quantization_mode", None) is None
    )


def apply(layer, inputs, kernel):
    """Returns `op(inputs, kernel)` of an affine layer, without bias."""
    if isinstance(layer, keras.layers.Dense):
        return ops.matmul(inputs, kernel)
    return layer.convolution_op(inputs, kernel)


def tangent(layer, inputs, input_tangent=None, kernel_tangent=None, bias_tangent=None):
    """Returns the tangent of the pre-activation: `op(x, dW) + op(dx, W) + db`, `None` if still.

    Args:
        layer: An affine layer.
        inputs: Its inputs x.
        input_tangent: dx, shaped like them; `None` for zero, as for the others.
        kernel_tangent: dW.
        bias_tangent: db.
    """
    total = None
    if kernel_tangent is not None:
        total = apply(layer, inputs, kernel_tangent)
    if input_tangent is not None:
        through = apply(layer, input_tangent, ops.convert_to_tensor(layer.kernel))
        total = through if total is None else total + through
    if bias_tangent is not None:
        if total is None:
            shape = layer.compute_output_shape(tuple(inputs.shape))
            total = ops.zeros([*ops.shape(inputs)[:1], *shape[1:]], bias_tangent.dtype)
        total = total + bias_tangent
    return total


def call_capturing(layer, call):
    """Calls an affine layer by `call()` and returns its output and its pre-activation `z`."""
    captured = []
    activation, thread = layer.activation, threading.get_ident()

    def capture(z):
        if threading.get_ident() == thread:
            captured.append(z)
        return z if activation is None else activation(z)

    layer.activation = capture
    try:
        output = call()
    finally:
        layer.activation = activation
    return output, captured[0]


def activation_tangent(activation, before, output, tangent):
    """Returns the tangent behind an activation function, given the one before it."""
    if activation is None or activation is keras.activations.linear:
        return tangent
    if activation is keras.activations.relu:
        # One operation, which a comparison and a choice would be two of.
        return tf.raw_ops.ReluGrad(gradients=tangent, features=output)
    with tf.autodiff.ForwardAccumulator(before, tangent) as accumulator:
        again = activation(before)
    return accumulator.jvp(again)
