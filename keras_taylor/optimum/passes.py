"""Passes over the rounds: sums and stacks of what a function makes of each operator.

There are two kinds: over a stream of rounds, from disk or memory, and over features that are kept
in memory, in chunks of several rounds.
"""

import abc
import gc
import itertools

import numpy as np
import tensorflow as tf
from keras import ops

# The memory of features that is computed with at once.
CHUNK_BYTES = 2**25
# The size of features that makes it worth looking for memory that is not used any more.
LARGE_BYTES = 2**28


class NotKeptError(Exception):
    """Rounds have no features, too large ones, or features of different shapes."""


class Passes(abc.ABC):
    """Passes over the first rounds of a sample; abstract.

    A function takes an operator and tensors, and is traced once.
    """

    def __init__(self):
        self._graphs = {}

    @abc.abstractmethod
    def sum(self, function, arguments, start, count, rows=None, begin=0):
        """Returns float64 sums over the operators of the first `count` rounds, arrays.

        Args:
            function: A function that returns a tuple of tensors.
            arguments: Arrays that it takes.
            start: The sums of nothing, arrays.
            count: The number of rounds.
            rows: An array with a row for each example of the rounds, in order; a call gets those of
                its own examples as its last argument.
            begin: The number of rounds to pass over; only a stream has it.
        """

    @abc.abstractmethod
    def stack(self, function, arguments, count):
        """Returns the tensors that a function gives, joined along the first axis, an array."""

    def _traced(self, function, kind, make, arguments):
        """Returns a graph, made once for the number of axes of the arguments."""
        key = function, kind, tuple(map(np.ndim, tf.nest.flatten(arguments)))
        if key not in self._graphs:
            specs = tf.nest.map_structure(_spec, arguments)
            graph = tf.function(make(), autograph=False)
            self._graphs[key] = graph.get_concrete_function(*specs)
        return self._graphs[key]


class StreamedPasses(Passes):
    """Passes over a dataset of rounds, one round at a time, as a loop within one graph.

    `tf.data.Dataset.reduce` does the same, but makes its function and the pipeline ready again in
    each call, which takes as long as a hundred rounds of a small network.

    Args:
        dataset: A `tf.data.Dataset` of rounds, each a pair of its weight and its tensors.
        operator: Function from weight, tensors and the round's place to an operator.
        batch_size: The examples of a round, for `rows`.
    """

    def __init__(self, dataset, operator, batch_size=None):
        super().__init__()
        self._dataset, self._operator, self._batch_size = dataset, operator, batch_size

    def sum(self, function, arguments, start, count, rows=None, begin=0):
        span = [np.int64(begin), np.int64(count)]
        given = [list(arguments), list(start), span, [] if rows is None else [rows]]
        graph = self._traced(function, "sum", lambda: self._summed(function), given)
        return [one.numpy() for one in graph(*tf.nest.map_structure(tf.constant, given))]

    def _summed(self, function):
        def summed(arguments, start, span, rows):
            def add(number, sums, round):
                begin = tf.cast(number, "int32") * (self._batch_size or 0)
                own = [one[begin : begin + self._batch_size] for one in rows]
                terms = function(self._operator(*round, number), *arguments, *own)
                pairs = zip(sums, terms, strict=True)
                return [s + ops.reshape(ops.cast(t, "float64"), ops.shape(s)) for s, t in pairs]

            return self._loop(*span, start, add)

        return summed

    def stack(self, function, arguments, count):
        given = [list(arguments), np.int64(count)]
        graph = self._traced(function, "stack", lambda: self._stacked(function), given)
        return graph(*tf.nest.map_structure(tf.constant, given)).numpy()

    def _stacked(self, function):
        def stacked(arguments, count):
            kept = tf.TensorArray("float64", tf.cast(count, "int32"), infer_shape=False)

            def put(number, kept, round):
                found = function(self._operator(*round, number), *arguments)
                return [kept[0].write(tf.cast(number, "int32"), ops.cast(found, "float64"))]

            return self._loop(tf.constant(0, "int64"), count, [kept], put)[0].concat()

        return stacked

    def _loop(self, begin, count, start, step):
        rounds = iter(self._dataset.skip(begin))

        def body(number, state):
            return number + 1, tuple(step(number, state, rounds.get_next()))

        # One after the other, so that one round is in memory.
        state = tf.while_loop(
            lambda number, _: number < count,
            body,
            (begin, tuple(start)),
            parallel_iterations=1,
        )
        return state[1]


class CachedPasses(Passes):
    """Passes over features that are kept.

    Args:
        chunks: The `Chunks`.
        operator: Function from a chunk, a dictionary of tensors, to an operator.
    """

    def __init__(self, chunks, operator):
        super().__init__()
        self._chunks, self._operator = chunks, operator

    def sum(self, function, arguments, start, count, rows=None, begin=0):
        sums = [np.array(one, "float64") for one in start]
        for chunk in self._chunks.first(count):
            end, own = begin + examples(chunk), []
            if rows is not None:
                own, begin = [rows[begin:end]], end
            found = self._run(function, "sum", [*arguments, *own], chunk)
            sums = [s + one.numpy().astype("float64") for s, one in zip(sums, found, strict=True)]
        return sums

    def stack(self, function, arguments, count):
        chunks = self._chunks.first(count)
        found = (self._run(function, "stack", arguments, chunk).numpy() for chunk in chunks)
        return np.concatenate([one.astype("float64") for one in found])

    def _run(self, function, kind, arguments, chunk):
        def make():
            return lambda arguments, chunk: function(self._operator(chunk), *arguments)

        given = [list(arguments), chunk]
        graph = self._traced(function, kind, make, given)
        return graph(*tf.nest.map_structure(tf.convert_to_tensor, given))


def _spec(array):
    """Returns the spec of an array whose first axis, if it has one, is open."""
    shape = np.shape(array)
    dtype = array.dtype if hasattr(array, "dtype") else np.asarray(array).dtype
    return tf.TensorSpec((None, *shape[1:]) if shape else (), dtype)


class Chunks:
    """Tensors of the examples of all rounds, those of several rounds as one chunk.

    Args:
        by_round: An iterator over dictionaries of tensors, one for each round, whose first axis is
            that of its examples. It is read as chunks are made, so that nothing is held twice.

    Attributes:
        batch_size: The number of examples in a round.

    Raises:
        NotKeptError: if rounds differ in the number or the size of their examples.
    """

    def __init__(self, by_round):
        by_round = iter(by_round)
        first = next(by_round)
        shapes, self.batch_size = _shapes(first), examples(first)
        # The number of rounds in a chunk.
        self._length = max(1, CHUNK_BYTES // max(1, size(first)))
        self._chunks, some = [], [first]
        while some := some + list(itertools.islice(by_round, self._length - len(some))):
            if any(_shapes(one) != shapes for one in some):
                raise NotKeptError
            self._chunks.append({name: tf.concat([one[name] for one in some], 0) for name in first})
            some = []

    def first(self, rounds):
        """Yields the chunks of the first rounds, the last of them cut where they end."""
        for chunk in self._chunks[: -(-rounds // self._length)]:
            most = rounds * self.batch_size
            # A slice would be a copy.
            is_whole = most >= examples(chunk)
            yield chunk if is_whole else {name: tensor[:most] for name, tensor in chunk.items()}
            rounds -= self._length


def collected(dataset, collect, rounds, most_bytes):
    """Yields what a function makes of each round of a dataset.

    Args:
        dataset: The rounds, pairs of weight and tensors.
        collect: Function of both, to a dictionary of tensors.
        rounds: The number of rounds.
        most_bytes: The most memory for all of them.

    Raises:
        NotKeptError: if the dictionary is empty for a round, or takes more than its share.
    """
    for number, (weight, tensors) in enumerate(dataset):
        try:
            found = collect(weight, tensors)
        except tf.errors.InvalidArgumentError as error:
            # Sample weights in some rounds alone; a pass would raise other errors, too.
            raise NotKeptError from error
        if not found or size(found) * rounds > most_bytes:
            raise NotKeptError
        if number == 0 and size(found) * rounds > LARGE_BYTES:
            # What former solves kept may still be there, since graphs refer to each other.
            gc.collect()
        yield found


def examples(tensors):
    """Returns the number of examples of a dictionary of tensors."""
    return len(next(iter(tensors.values())))


def _shapes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def size(tensors):
    """Returns the bytes of a dictionary of tensors."""
    return sum(np.asarray(tensor).nbytes for tensor in tensors.values())
