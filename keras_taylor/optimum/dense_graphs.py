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
        }
        signature = tf.TensorSpec((), v.dtype)
        return tf.map_fn(lambda one: self._sum(v, one), by_round, fn_output_signature=signature)

    def _sum(self, v, chunk):
        """Returns the sum of the Taylor losses of the rounds of a chunk."""
        moved = chunk["inputs"] @ v - chunk["before"]
        if "curvature" in chunk:
            product = tf.linalg.matvec(chunk["curvature"], moved)
            return tf.reduce_sum(chunk["loss"]) + tf.reduce_sum(
                (chunk["linear"] + product / 2) * moved
            )
        if "jacobian" in chunk:
            moved = tf.linalg.matvec(chunk["jacobian"], moved)
        point = chunk["points"] + tf.reshape(moved, tf.shape(chunk["points"]))
        output = self._loss.output_at(point, self._from_logits)
        value = self._loss(chunk["y"], output, [point], chunk.get("sample_weight"))
        rounds = tf.shape(chunk["before"])[0] // self._batch_size
        return value if self._is_sum else value * tf.cast(rounds, value.dtype)
