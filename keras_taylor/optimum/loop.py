"""Sums over recorded rounds, as a loop within the graph of a pass.

`tf.data.Dataset.reduce` does the same, but makes its function and the pipeline ready again whenever
it is called, which takes as long as a hundred rounds of a small network.
"""

import tensorflow as tf


def over_rounds(dataset, end, start, add, begin=0):
    """Returns sums over the rounds of a dataset, within a graph.

    Args:
        dataset: A `tf.data.Dataset`, of at least `end` elements. That of a trajectory is not
            rewritten whenever it is begun.
        end: The number of the element after the last one that is added, an int64 tensor.
        start: A tuple of tensors, the sums of nothing.
        add: Function from sums, the number of an element (from zero) and the element to a tuple of
            sums of the same shapes and dtypes.
        begin: The number of the first element that is added, an int64 tensor.
    """
    begin = tf.convert_to_tensor(begin, "int64")
    rounds = iter(dataset.skip(begin))

    def body(number, sums):
        return number + 1, tuple(add(sums, number, rounds.get_next()))

    # One after the other, so that one round is in memory.
    options = {"parallel_iterations": 1}
    return tf.while_loop(lambda number, _: number < end, body, (begin, tuple(start)), **options)[1]
