"""What Keras has no public name for: replicas, sparse gradients, graphs. TensorFlow only."""

import tensorflow as tf


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
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


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

    Where a product has one reader only, TensorFlow's graph optimizer may multiply its factors in
    another order, so that a second reader would change the last bit of what the first one gets:
    plain SGD with a gradient that ends in a product (the gamma of BatchNormalization) came out
    different. Such products are therefore made again for the second reader.
    """
    return _made_again(tensor) if _is_unread_product(tensor, readers=0) else tensor


def _is_unread_product(tensor, readers):
    return (
        tf.is_symbolic_tensor(tensor)
        and tensor.graph is tf.compat.v1.get_default_graph()
        and tensor.op.type in ("Mul", "AddV2")
        and len(tensor.consumers()) <= readers
    )


def _made_again(tensor):
    operands = [
        _made_again(operand) if _is_unread_product(operand, readers=1) else operand
        for operand in tensor.op.inputs
    ]
    make = {"Mul": tf.raw_ops.Mul, "AddV2": tf.raw_ops.AddV2}[tensor.op.type]
    # Naming the gradient function that they have anyway tells the copies from the originals,
    # which the graph optimizer would merge them with.
    with tensor.graph.gradient_override_map({tensor.op.type: tensor.op.type}):
        return make(x=operands[0], y=operands[1])
