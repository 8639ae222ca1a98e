"""Sparse gradients of tables, such as those of embeddings: the rows that a round touched.

Sums over rounds need only these rows of gradient and weights: inner products, squared norms, and
sums of gradients. The distance of the whole table from `W^1` changes by what the rows touched
change, if the optimizer moves no other rows.
"""

import keras
import tensorflow as tf


def moves_touched_rows_only(optimizer, variable):
    """Whether an optimizer changes no row of a variable but those of its sparse gradient.

    That is known of plain SGD: momentum, weight decay, moving averages and constraints move others.

    Args:
        optimizer: A Keras optimizer, not one that wraps others.
        variable: The variable.
    """
    return (
        type(optimizer) is keras.optimizers.SGD
        and optimizer.momentum == 0
        and not optimizer.weight_decay
        and not optimizer.use_ema
        and not optimizer.gradient_accumulation_steps
        and variable.constraint is None
    )


class TouchedRows:
    """The rows of a sparse gradient, each once.

    Shapes are static, as XLA needs them: rows that were given twice are summed, and what is left at
    the end is zero and masked.

    Args:
        slices: A `tf.IndexedSlices` of a matrix.

    Attributes:
        gradient: The rows of the gradient, `(rows, columns)`, zero if masked.

    Example:

    >>> import tensorflow as tf
    >>> slices = tf.IndexedSlices(tf.constant([[1.0], [2.0], [4.0]]), tf.constant([7, 5, 7]))
    >>> TouchedRows(slices).gradient.numpy().ravel()
    array([2., 5., 0.], dtype=float32)
    """

    def __init__(self, slices):
        order = tf.argsort(slices.indices, stable=True)
        numbers = tf.gather(slices.indices, order)
        count = tf.shape(numbers)[0]
        is_new = tf.concat([tf.ones((tf.minimum(count, 1),), bool), numbers[1:] != numbers[:-1]], 0)
        places = tf.cumsum(tf.cast(is_new, "int32")) - 1
        rows = tf.gather(slices.values, order)
        self.gradient = tf.math.unsorted_segment_sum(rows, places, count)
        self._is_row = tf.range(count) < tf.reduce_sum(tf.cast(is_new, "int32"))
        last = tf.math.unsorted_segment_max(numbers, places, count)
        self._numbers = tf.where(self._is_row, last, tf.zeros_like(last))

    def of(self, table):
        """Returns these rows of a matrix, zero if masked."""
        rows = tf.gather(table, self._numbers)
        return tf.where(self._is_row[:, None], rows, tf.zeros_like(rows))

    def add_gradient(self, variable):
        """Adds the rows of the gradient to a Keras variable of the table's shape."""
        rows = tf.cast(self.gradient, variable.dtype)
        variable.value.scatter_add(tf.IndexedSlices(rows, self._numbers))
