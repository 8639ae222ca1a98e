"""What is known of a Keras loss as a function of the output at which a model is expanded.

A cross-entropy on probabilities is convex in the logits, the pre-activation of the softmax or
sigmoid that the model ends in; a probability moved along a tangent leaves the simplex. So is a
Kullback-Leibler divergence from targets: a cross-entropy less a constant.
"""

import functools
import warnings

import keras
from keras import losses, ops

# Cross-entropies, and the activation that turns logits into what they take.
CROSS_ENTROPIES = {
    losses.binary_crossentropy: keras.activations.sigmoid,
    losses.categorical_crossentropy: keras.activations.softmax,
    losses.kl_divergence: keras.activations.softmax,
    losses.sparse_categorical_crossentropy: keras.activations.softmax,
}
# Convex losses with kinks in the output.
KINKED = {
    losses.mean_absolute_error,
    losses.mean_absolute_percentage_error,
    losses.hinge,
    losses.categorical_hinge,
}
CONVEX = {
    *CROSS_ENTROPIES,
    *KINKED,
    losses.mean_squared_error,
    losses.huber,
    losses.log_cosh,
    losses.poisson,
    losses.squared_hinge,
}
# Those that are never negative, cross-entropies for targets that are not.
NONNEGATIVE = CONVEX - {losses.kl_divergence, losses.poisson}


def function_of(loss):
    """Returns the function that a Keras loss averages, or `None` for a loss that is a class."""
    return getattr(loss, "fn", None)


def is_cross_entropy(loss):
    """Tells whether a Keras loss is one of `CROSS_ENTROPIES`."""
    return function_of(loss) in CROSS_ENTROPIES


def takes_probabilities(loss):
    """Tells whether a Keras loss is a cross-entropy on probabilities, not on logits."""
    return is_cross_entropy(loss) and not loss.get_config().get("from_logits", False)


def normalises(loss):
    """Tells whether a cross-entropy takes outputs of any sum, as Keras' cross-entropies do."""
    return function_of(loss) is not losses.kl_divergence


def logits_of(loss, probabilities):
    """Returns logits of the probabilities that a cross-entropy of `CROSS_ENTROPIES` takes.

    Of a softmax they are known up to a constant for each example, on which nothing depends, to
    first order either: `log softmax(z)` moves by `dz - <p, dz>`, and the softmax of that is the
    softmax of `z + dz`. Probabilities are cut at `keras.config.epsilon()`, as Keras' losses do.
    """
    least = keras.config.epsilon()
    if CROSS_ENTROPIES[function_of(loss)] is keras.activations.sigmoid:
        kept = ops.minimum(ops.maximum(probabilities, least), 1 - least)
        return ops.log(kept) - ops.log(1 - kept)
    total = ops.sum(probabilities, axis=-1, keepdims=True)
    return ops.log(ops.maximum(probabilities / total, least))


def is_convex(loss):
    """Tells whether a Keras loss is known to be convex in the output that is expanded.

    A loss class of the user declares it by an attribute `convex_in_output = True`.
    """
    declared = (getattr(each, "convex_in_output", False) for each in (loss, function_of(loss)))
    return function_of(loss) in CONVEX or any(declared)


def is_quadratic(loss):
    """Tells whether a Keras loss is known to be quadratic in the output.

    A loss class of the user declares it by an attribute `quadratic_in_output = True`.
    """
    is_squared = function_of(loss) is losses.mean_squared_error
    return is_squared or getattr(loss, "quadratic_in_output", False)


def is_nonnegative(loss):
    """Tells whether a Keras loss is never negative, if targets and weights of examples are not."""
    return function_of(loss) in NONNEGATIVE


def is_kinked(loss):
    """Tells whether a Keras loss is one of `KINKED`."""
    return function_of(loss) in KINKED


def warn_unless_convex(loss):
    """Warns once of each loss that is not known to be convex."""
    if not is_convex(loss):
        _warn_not_convex(loss.name, function_of(loss) or type(loss))


@functools.cache
def _warn_not_convex(name, kind):
    del kind  # Another loss of the same name gets a warning too.
    warnings.warn(
        f"loss {name!r} is not known to be convex in the model's output: its Taylor loss may not "
        "be convex in the comparator, and bounds and certificates may not hold. If it is convex, "
        "give it an attribute `convex_in_output = True`",
        stacklevel=2,
    )
