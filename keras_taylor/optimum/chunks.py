"""What rounds leave of each example, in chunks that are computed with at once, and their losses."""

import gc
import itertools

import numpy as np
import tensorflow as tf

from keras_taylor.taylor.outputs import OutputLoss

# What is computed with at once.
CHUNK_BYTES = 2**27
# What is worth looking for memory that is not used any more.
LARGE_BYTES = 2**28


class NoFeaturesError(Exception):
    """Rounds leave nothing, too much, or not of one shape."""


class Chunks:
    """Tensors of the examples of all rounds, those of several rounds as one.

    Args:
        by_round: An iterator over dictionaries of tensors, one for each round, the first axis that
            of its examples. It is read as chunks are made, so that nothing is held twice.

    Attributes:
        batch_size: The number of examples in a round.
        chunks: A list of dictionaries, each of the examples of several rounds.

    Raises:
        NoFeaturesError: if rounds differ in the number or the size of their examples.
    """

    def __init__(self, by_round):
        by_round = iter(by_round)
        first = next(by_round)
        self.batch_size = examples(first)
        # The number of rounds in a chunk.
        self.length = max(1, CHUNK_BYTES // size(first))
        self.chunks, some = [], [first]
        while some := some + list(itertools.islice(by_round, self.length - len(some))):
            if any(_shapes(one) != _shapes(first) for one in some):
                raise NoFeaturesError
            joined = {name: tf.concat([one[name] for one in some], 0) for name in some[0]}
            self.chunks.append(joined)
            some = []

    def first(self, rounds):
        """Yields the chunks of the first rounds, the last of them cut where they end."""
        for chunk in self.chunks[: -(-rounds // self.length)]:
            most = rounds * self.batch_size
            # A slice would be a copy.
            is_whole = most >= examples(chunk)
            yield chunk if is_whole else {name: tensor[:most] for name, tensor in chunk.items()}
            rounds -= self.length


def collected(dataset, collect, rounds, most_bytes):
    """Yields what a function makes of each round of a dataset.

    Args:
        dataset: Weights of rounds, and rounds.
        collect: The function of both, to a dictionary of tensors.
        rounds: The number of rounds that are collected in all.
        most_bytes: The most that they may take together.

    Raises:
        NoFeaturesError: if it is nothing for a round, or takes more than a round's share.
    """
    for number, (weight, tensors) in enumerate(dataset):
        try:
            found = collect(weight, tensors)
        except tf.errors.InvalidArgumentError as error:
            # Sample weights in some rounds alone; what is wrong elsewhere a pass would say, too.
            raise NoFeaturesError from error
        if not found or size(found) * rounds > most_bytes:
            raise NoFeaturesError
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


def traced(function):
    """Returns a function of tensors, the last argument a chunk, as a graph.

    It is traced once, whatever the number of examples of the chunk.
    """
    graph = tf.function(function, autograph=False)

    def run(*tensors):
        *others, chunk = tensors
        open_ended = {
            name: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)
            for name, tensor in chunk.items()
        }
        return graph.get_concrete_function(*others, open_ended)(*others, chunk)

    return run


class ChunkLoss:
    """The sum of the losses of the rounds of a chunk at given points, times the rounds' weights.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        batch_size: The number of examples in a round.
        wide: Whether it is computed in float64.
    """

    def __init__(self, rounds, batch_size, wide):
        self._loss = OutputLoss(rounds.replaced_loss(wide=wide))
        self._from_logits, self._batch_size = rounds.from_logits, batch_size
        # A sum of losses is one over all rounds; a mean has to be undone.
        self._is_sum = rounds.loss.losses[0].reduction == "sum"

    def __call__(self, points, chunk):
        """Returns the sum, a scalar.

        Args:
            points: The points of the chunk's examples, shaped as the model's are.
            chunk: A dictionary with `y`, perhaps `sample_weight`, and where rounds are a sample
                `weight`, the rounds that each example's stands for.
        """
        output = self._loss.output_at(points, self._from_logits)
        value = self._loss(chunk["y"], output, [points], _product(chunk))
        rounds = tf.shape(points)[0] // self._batch_size
        return value if self._is_sum else value * tf.cast(rounds, value.dtype)


def _product(chunk):
    """Returns the weights of examples times those of their rounds, `None` without either."""
    weight, of_round = chunk.get("sample_weight"), chunk.get("weight")
    if weight is None or of_round is None:
        return of_round if weight is None else weight
    more_axes = [1] * (len(weight.shape) - 1)
    # The rounds' weights are as precise as all else here.
    return tf.cast(weight, of_round.dtype) * tf.reshape(of_round, [-1, *more_axes])
