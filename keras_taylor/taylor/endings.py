"""What a model ends in: where a loss takes an output at its logits, and how they are found.

A softmax or sigmoid of Keras leaves its logits at its output, unless another layer makes a new
tensor of that; then they are made from the probabilities.
"""

import keras
import tensorflow as tf
from keras import ops

from keras_taylor.derivatives.forward_mode import cached_logits
from keras_taylor.taylor import convexity

# How far the sum of probabilities may be from one, by rounding.
SUM_TOLERANCE = 1e-2
# Operations of a graph that hand a softmax on, if they leave the last axis as it is.
HANDING_ON = {"Cast", "Identity", "Reshape"}


def ends_in_logits(outputs):
    """Tells whether the first output is a softmax or sigmoid of logits that Keras left at it."""
    return cached_logits(keras.tree.flatten(outputs)[0]) is not None


def takes_logits(loss, output):
    """Tells whether a loss takes an output at its logits."""
    if not convexity.is_cross_entropy(loss):
        return False
    if not convexity.normalises(loss):
        return _is_softmax(output)
    return convexity.takes_probabilities(loss) or cached_logits(output) is not None


def _is_softmax(output):
    """Tells whether an output sums to one over the last axis, as far as can be seen."""
    if not tf.is_symbolic_tensor(output):
        sums = ops.sum(output, axis=-1)
        return bool(ops.all(ops.abs(sums - 1) < SUM_TOLERANCE))
    classes, tensor = output.shape[-1], output
    while tensor.op.type in HANDING_ON and tensor.op.inputs[0].shape[-1:] == [classes]:
        tensor = tensor.op.inputs[0]
    return tensor.op.type == "Softmax"


def source(loss, output):
    """Returns the tensor of a model's run that a point comes from: cached logits or the output."""
    logits = cached_logits(output)
    return logits if logits is not None and takes_logits(loss, output) else output


def point(loss, output):
    """Returns the tensor at which an output is expanded: its logits or the output itself."""
    if not takes_logits(loss, output):
        return output
    logits = cached_logits(output)
    return convexity.logits_of(loss, output) if logits is None else logits


def logit_tangent(loss, output, tangent):
    """Returns the tangent of the logits that are made from an output, given that of the output."""
    with tf.autodiff.ForwardAccumulator(output, tangent) as accumulator:
        logits = convexity.logits_of(loss, output)
    return accumulator.jvp(logits)
