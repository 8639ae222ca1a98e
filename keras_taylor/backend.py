"""Functions that Keras does not offer: replicas, sparse gradients, graphs. TensorFlow only."""

import functools
import math

import keras
import tensorflow as tf
from keras import ops
from keras.src.utils.rng_utils import get_random_seed

# TensorFlow has no public name for XLA's barrier.
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

# For functions that users call within a `tf.function`: AutoGraph has no Python loop or branch over
# tensors to rewrite in them, and looking for one takes longer than tracing them.
unconverted = tf.autograph.experimental.do_not_convert

# Entries of a matrix that is large for `column_sums`: 2 MB in float32.
LARGE_MATRIX = 2**19


def global_seed():
    """Returns the seed that `keras.utils.set_random_seed` set, or `None`."""
    # Keras has no public function that reads it.
    return get_random_seed()


def densify(gradient):
    """Returns a gradient as a dense tensor; embeddings give `tf.IndexedSlices`."""
    return tf.convert_to_tensor(gradient)


def snapshot(variables):
    """Returns the present values of Keras variables; later assignments do not change them."""
    return [tf.identity(variable.value) for variable in variables]


def add_in_place(variable, term):
    """Adds a tensor to a Keras variable by one operation; its own `assign_add` takes three."""
    variable.value.assign_add(term)


def squared_difference(one, other):
    """Returns `(one - other)^2` of two tensors by one operation, without what is in between."""
    return tf.math.squared_difference(one, other)


def column_sums(matrix):
    """Returns the sums of a matrix's columns, `(1, columns)`.

    The gradient of a bias is the same sum, for which TensorFlow goes through a matrix row by row.
    On a CPU that takes half to three quarters of the time for large matrices, and longer for small.
    """
    if math.prod(matrix.shape) < LARGE_MATRIX:
        return ops.sum(matrix, axis=0, keepdims=True)
    return tf.raw_ops.BiasAddGrad(out_backprop=matrix)[None]


def sum_over_replicas(tensors):
    """Returns the sums of tensors over all replicas; with one replica, the same tensors.

    Under `tf.distribute`, each replica holds the gradient of its share of the loss.
    """
    if replica_count() == 1:
        return tensors
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def replica_count():
    """Returns the number of replicas that run the present step."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def strategy_replica_count():
    """Returns the number of replicas of the present strategy, within a step or not."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def is_in_scope(variable):
    """Returns whether a Keras variable was made in the scope of the present strategy."""
    return tf.distribute.get_strategy().extended.variable_created_in_scope(variable.value)


def is_reachable(tensor):
    """Returns whether the present code can use a tensor: it is eager or from this graph."""
    if not tf.is_symbolic_tensor(tensor):
        return True
    graph = tf.compat.v1.get_default_graph()
    while graph is not None and graph is not tensor.graph:
        graph = getattr(graph, "outer_graph", None)
    return graph is not None


def observable(tensor):
    """Returns a tensor with the same value that can be read without changing the training.

    If a sum or product has only one reader, TensorFlow and XLA may change the order of its factors
    or fuse it with the reader. A second reader prevents that and so changes the last bit of what
    the first one gets. This was seen with plain SGD for a gradient that ends in a product (the
    gamma of BatchNormalization), and with RMSprop under XLA for a gradient that ends in a sum (a
    kernel with a regulariser). So this function computes such a tensor a second time, in float64,
    because TensorFlow would merge a repetition of the same operation with the original.
    """
    return observer(tensor)()


def observer(tensor):
    """Returns a function that returns what `observable` does, also in a branch of a condition.

    What is made again then runs only where the branch does.
    """
    if not _is_unread(tensor, readers=0):
        return lambda: tensor
    make = _maker(tensor)
    return lambda: tf.cast(make(), tensor.dtype)


def sealed(tensors, jit_compile=False):
    """Returns copies of tensors, from which nothing is merged with what the originals go through.

    What is computed from the copies is a second reader of no tensor but the originals: TensorFlow's
    graph optimizer and XLA leave the rest of the graph as if it were alone.

    Args:
        tensors: A list of tensors, sparse and ragged ones too, or `None`. There is no such copy of
            text, and no need: no arithmetic is done on it.
        jit_compile: Whether XLA compiles the present graph; it sees through other copies.
    """
    if tf.executing_eagerly():
        return list(tensors)
    flat = tf.nest.flatten(list(tensors), expand_composites=True)
    numbers = list(filter(_is_numeric, flat))
    if jit_compile and numbers:
        copies = iter(gen_xla_ops.xla_optimization_barrier(input=numbers))
    else:
        copies = (tf.raw_ops.Snapshot(input=tensor) for tensor in numbers)
    flat = [next(copies) if _is_numeric(tensor) else tensor for tensor in flat]
    return tf.nest.pack_sequence_as(list(tensors), flat, expand_composites=True)


def _is_numeric(tensor):
    return tensor is not None and tensor.dtype != tf.string


def _is_unread(tensor, readers):
    return (
        tf.is_symbolic_tensor(tensor)
        and tensor.graph is tf.compat.v1.get_default_graph()
        and tensor.op.type in ("Mul", "AddV2", "AddN")
        and len(tensor.consumers()) <= readers
    )


def _maker(tensor):
    """Returns a function that makes a sum or product again, in float64."""
    makers = [
        _maker(operand)
        if _is_unread(operand, readers=1)
        else functools.partial(tf.cast, operand, "float64")
        for operand in tensor.op.inputs
    ]
    is_product = tensor.op.type == "Mul"

    def make():
        operands = [maker() for maker in makers]
        return operands[0] * operands[1] if is_product else sum(operands[1:], operands[0])

    return make


def learning_rate_schedule(optimizer):
    """Returns the `LearningRateSchedule` of a Keras optimizer, or `None`."""
    # The public `learning_rate` is the present value, not the schedule.
    found = getattr(optimizer, "_learning_rate", None)
    is_schedule = isinstance(found, keras.optimizers.schedules.LearningRateSchedule)
    return found if is_schedule else None
