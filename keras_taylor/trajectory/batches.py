"""The batches of a dataset, as rounds keep them: arrays, each of at least one example."""

import keras
import numpy as np
import tensorflow as tf


def rounds(dataset):
    """Yields the batches of a dataset that have examples: an empty one is no round."""
    for batch in dataset:
        if size(keras.utils.unpack_x_y_sample_weight(batch)[0]):
            yield batch


def preprocessing(model):
    """Returns what `fit` of a model maps over its batches, as KerasHub's tasks do, or `None`.

    That is a method `preprocess_samples(x, y, sample_weight)` which returns a batch, with a
    `preprocessor` that is not `None`.
    """
    function = getattr(model, "preprocess_samples", None)
    return None if getattr(model, "preprocessor", function) is None else function


def preprocessed(model, batch):
    """Returns a batch as `fit` gives it to the model's `train_step`."""
    function = preprocessing(model)
    if function is None:
        return batch
    return function(*keras.utils.unpack_x_y_sample_weight(tensors(batch)))


def tensors(batch):
    """Returns a batch with tensors for its arrays."""
    return keras.tree.map_structure(_tensor, batch)


def size(x):
    """Returns the number of examples in the inputs of a batch."""
    first = keras.tree.flatten(x)[0]
    shape = first.shape if hasattr(first, "shape") else np.shape(first)
    return shape[0] if len(shape) else 1


def arrays(structure):
    """Returns a structure with arrays for its tensors, sparse ones made dense.

    Raises:
        ValueError: if an entry is neither numbers nor strings of one shape.
    """
    if structure is None:
        return None
    return keras.tree.map_structure(_array, structure)


def _tensor(value):
    return tf.convert_to_tensor(value) if isinstance(value, np.ndarray) else value


def _array(value):
    if isinstance(value, tf.SparseTensor):
        value = tf.sparse.to_dense(value)
    found = np.asarray(value)
    if found.dtype.kind == "O" and not all(isinstance(one, (bytes, str)) for one in found.flat):
        raise ValueError(
            f"a batch has a {type(value).__name__}, which is no array of numbers or strings: make "
            "it a dense tensor, by padding where lengths differ within a batch"
        )
    return found
