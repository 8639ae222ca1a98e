"""A training function that looks at its first batch before it trains on it."""

import itertools

import tensorflow as tf


def looking_ahead(function, look, steps):
    """Returns a training function of Keras that calls `look(batch)` once, with its first batch.

    The batch is then trained on as if nobody had looked: no batch is lost and none comes twice.

    Args:
        function: Function from an iterator over batches to logs, as `make_train_function` makes it.
        look: Function of a batch.
        steps: The number of batches that a call of the function trains on.
    """
    is_first = True

    def looked(iterator):
        nonlocal is_first
        if not is_first:
            return function(iterator)
        batch = next(iterator, None)
        if batch is None:
            return function(iterator)
        look(_without_optionals(batch))
        # A look that raises is not the last.
        is_first = False
        return function(_again(batch, iterator, steps))

    return looked


def _again(batch, iterator, steps):
    """Returns an iterator of the same kind over a batch and those that follow it in a call."""
    # No more than these: tf.data reads ahead, and what it reads would be lost.
    batches = itertools.chain([batch], itertools.islice(iterator, steps - 1))
    specs = getattr(iterator, "element_spec", None)
    if not all(isinstance(spec, tf.TensorSpec) for spec in tf.nest.flatten(specs)):
        # Keras trains on any iterator, by another function, which is traced once more.
        return batches
    return iter(tf.data.Dataset.from_generator(lambda: batches, output_signature=specs))


def _without_optionals(batch):
    # What stands for a missing sample weight in a `tf.data.Dataset`.
    return tf.nest.map_structure(
        lambda value: None if isinstance(value, tf.experimental.Optional) else value, batch
    )
