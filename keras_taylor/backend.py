"""What Keras has no public name for: replicas, sparse gradients, graphs. TensorFlow only."""

import tensorflow as tf
from keras.src.utils.rng_utils import get_random_seed


def global_seed():
    """Returns the seed that `keras.utils.set_random_seed` set, or `None`."""
    # Keras keeps it, but has no public name to read it.
    return get_random_seed()


def densify(gradient):
    """Returns a gradient as a tensor; those of embeddings come as `tf.IndexedSlices`."""
    return tf.convert_to_tensor(gradient)


def snapshot(variables):
    """Returns the present values of Keras variables, which later assignments do not change."""
    return [tf.identity(variable.value) for variable in variables]


def sum_over_replicas(tensors):
    """Returns the sums of tensors over all replicas; the tensors themselves where there is one.

    Under `tf.distribute` each replica holds the gradient of its share of the loss.
    """
    if replica_count() == 1:
        return tensors
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def replica_count():
    """Returns how many replicas run the present step."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def is_reachable(tensor):
    """Tells whether a tensor can be used where we are, which one of another graph cannot."""
    if not tf.is_symbolic_tensor(tensor):
        return True
    graph = tf.compat.v1.get_default_graph()
    while graph is not None and graph is not tensor.graph:
        graph = getattr(graph, "outer_graph", None)
    return graph is not None


def observable(tensor):
    """Returns a tensor equal to the given one, reading which leaves a graph's rewrites alone.

    Where a sum or product has one reader only, TensorFlow and XLA may multiply its factors in
    another order or fuse it into what reads it, so that a second reader would change the last bit
    of what the first one gets: plain SGD came out different with a gradient that ends in a product
    (the gamma of BatchNormalization), RMSprop under XLA with one that ends in a sum (a kernel with
    a regulariser). These are therefore made again for the second reader, in float64, since the
    same operation would be merged with the original.
    """
    if not _is_unread(tensor, readers=0):
        return tensor
    return tf.cast(_made_again(tensor), tensor.dtype)


def _is_unread(tensor, readers):
    return (
        tf.is_symbolic_tensor(tensor)
        and tensor.graph is tf.compat.v1.get_default_graph()
        and tensor.op.type in ("Mul", "AddV2", "AddN")
        and len(tensor.consumers()) <= readers
    )


def _made_again(tensor):
    operands = [
        _made_again(operand) if _is_unread(operand, readers=1) else tf.cast(operand, "float64")
        for operand in tensor.op.inputs
    ]
    if tensor.op.type == "Mul":
        return operands[0] * operands[1]
    return sum(operands[1:], operands[0])
