"""Inputs that a model is checked on: some examples of a real batch, or noise of the same shape.

Nothing is made up that a layer could refuse: where a batch is not at hand (while a graph is traced)
and an input has ids, categories or text, there is no probe, and a model is only traced.
"""

import keras
import numpy as np
import tensorflow as tf

EXAMPLES = 4
# Stand-ins for dimensions that a model leaves open.
IMAGE_LENGTH, SEQUENCE_LENGTH = 32, 32


def probes(model, x):
    """Returns inputs to check a model on, a list of structures like x; the first fit one counts.

    Args:
        model: The model.
        x: Inputs: a batch, of which some examples are taken, or what stands for one in a graph.
    """
    flat = keras.tree.flatten(x)
    if not any(_is_symbolic(tensor) for tensor in flat):
        fixed = _fixed_batch(model)
        return [keras.tree.map_structure(lambda tensor: _first(tensor, fixed), x)]
    if not all(tensor is None or tensor.dtype.is_floating for tensor in flat):
        return []
    batch = _fixed_batch(model) or EXAMPLES
    return [
        keras.tree.map_structure(lambda tensor, noise=noise: _noise(tensor, batch, noise), x)
        for noise in (_normal, _positive)
    ]


def signature(model, x):
    """Returns a `tf.TensorSpec` for each input, in the structure of x, with no open dimension."""
    batch = _fixed_batch(model) or EXAMPLES
    return keras.tree.map_structure(lambda tensor: _spec(tensor, batch), x)


def _fixed_batch(model):
    declared = keras.tree.flatten(getattr(model, "inputs", None) or [])
    return next((t.shape[0] for t in declared if t.shape[0] is not None), None)


def _is_symbolic(tensor):
    return tensor is not None and tf.is_symbolic_tensor(tensor)


def _first(tensor, fixed):
    if tensor is None or fixed is not None or not isinstance(tensor, (tf.Tensor, np.ndarray)):
        return tensor  # Ragged and sparse tensors are taken whole.
    return tensor[:EXAMPLES]


def _normal(shape):
    return np.random.default_rng(0).normal(size=shape)


def _positive(shape):
    return np.random.default_rng(0).uniform(0.1, 1, size=shape)


def _noise(tensor, batch, noise):
    return None if tensor is None else tf.cast(noise(_shape(tensor, batch)), tensor.dtype)


def _spec(tensor, batch):
    if tensor is None or not hasattr(tensor, "dtype"):
        return tensor
    return tf.TensorSpec(_shape(tensor, batch), tensor.dtype)


def _shape(tensor, batch):
    open_length = IMAGE_LENGTH if len(tensor.shape) >= 4 else SEQUENCE_LENGTH
    return [batch, *(open_length if n is None else n for n in tuple(tensor.shape)[1:])]
