"""F of a dense layer and its derivatives on features, as functions that TensorFlow traces once."""

import functools

import tensorflow as tf

from keras_taylor.taylor.outputs import OutputLoss


class DenseGraphs:
    """F and its derivatives on a chunk of features, as functions that are traced once a layer.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        batch_size: The number of examples in a round.
    """

    def __init__(self, rounds, batch_size):
        self._loss = OutputLoss(rounds.replaced_loss(wide=True))
        self._from_logits, self._batch_size = rounds.from_logits, batch_size
        # A sum of losses is one over all rounds; a mean has to be undone.
        self._is_sum = rounds.loss.losses[0].reduction == "sum"
        traced = functools.partial(tf.function, autograph=False, reduce_retracing=True)
        self.value = traced(self._chunk_value)
        self.curvature_product = traced(self._chunk_curvature)
        self.losses = traced(self._chunk_losses)

    def _chunk_value(self, v, chunk):
        with tf.GradientTape() as tape:
            tape.watch(v)
            value = self._sum(v, chunk)
        return value, tape.gradient(value, v)

    def _chunk_curvature(self, v, p, chunk):
        with tf.GradientTape() as tape:
            tape.watch(v)
            product = tf.reduce_sum(self._chunk_value(v, chunk)[1] * p)
        return tape.gradient(product, v, unconnected_gradients="zero")

    def _chunk_losses(self, v, chunk):
        size = self._batch_size
        by_round = {
            name: tf.reshape(tensor, tf.concat([[-1, size], tf.shape(tensor)[1:]], 0))
            for name, tensor in chunk.items()
            if name != "weight"
        }
        signature = tf.TensorSpec((), v.dtype)
        return tf.map_fn(lambda one: self._sum(v, one), by_round, fn_output_signature=signature)

    def _sum(self, v, chunk):
        """Returns the sum of the Taylor losses of the rounds of a chunk, times their weights."""
        moved, weight = chunk["inputs"] @ v - chunk["before"], chunk.get("weight")
        if "curvature" in chunk:
            product = tf.linalg.matvec(chunk["curvature"], moved)
            by_example = tf.reduce_sum((chunk["linear"] + product / 2) * moved, 1) + chunk["loss"]
            return tf.reduce_sum(by_example if weight is None else weight * by_example)
        if "jacobian" in chunk:
            moved = tf.linalg.matvec(chunk["jacobian"], moved)
        point = chunk["points"] + tf.reshape(moved, tf.shape(chunk["points"]))
        output = self._loss.output_at(point, self._from_logits)
        value = self._loss(chunk["y"], output, [point], _product(chunk))
        rounds = tf.shape(chunk["before"])[0] // self._batch_size
        return value if self._is_sum else value * tf.cast(rounds, value.dtype)


def _product(chunk):
    """Returns the weights of examples times those of their rounds, `None` without either."""
    weight, of_round = chunk.get("sample_weight"), chunk.get("weight")
    if weight is None or of_round is None:
        return of_round if weight is None else weight
    more_axes = [1] * (len(weight.shape) - 1)
    return weight * tf.reshape(tf.cast(of_round, weight.dtype), [-1, *more_axes])
