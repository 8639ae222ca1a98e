"""F of a dense layer and its derivatives on features, as functions that TensorFlow traces once."""

import tensorflow as tf

from keras_taylor.optimum.chunks import ChunkLoss, traced
from keras_taylor.optimum.output_curvature import by_output
from keras_taylor.taylor.unit_losses import by_example


class DenseGraphs:
    """F and its derivatives on a chunk of features, as functions that are traced once a layer.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        batch_size: The number of examples in a round.
    """

    def __init__(self, rounds, batch_size):
        self._at_points = ChunkLoss(rounds, batch_size, wide=True)
        self._batch_size = batch_size
        self.value = traced(self._chunk_value)
        self.curvature_product = traced(self._chunk_curvature)
        self.losses = traced(self._chunk_losses)
        self._slopes = traced(self._chunk_slopes)

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

    def unit_expansions(self, chunk):
        """Returns what the loss is to second order in each unit's pre-activation, by example.

        Returns:
            The arguments of `keras_taylor.optimum.gram.UnitExpansions` for a chunk, a dictionary of
            arrays; `None` where an output's share of the loss depends on the other outputs, or
            the unit acts on several places of an example.
        """
        if len(chunk["before"].shape) > 2:
            return None
        weight = chunk.get("weight", tf.ones_like(chunk["before"][:, 0]))
        found = {"inputs": chunk["inputs"], "before": chunk["before"]}
        found |= {"losses": self._own_losses(chunk), "weights": weight[:: self._batch_size]}
        if "curvature" in chunk:
            found["linear"] = chunk["linear"]
            found["curvature"] = tf.linalg.diag_part(chunk["curvature"])
        else:
            linear, curvature, is_apart = self._of_outputs(chunk)
            if not is_apart:
                return None
            jacobian = chunk.get("jacobian")
            if jacobian is not None:
                linear = tf.einsum("epu,ep->eu", jacobian, linear)
                curvature = tf.einsum("epu,epu,ep->eu", jacobian, jacobian, curvature)
            found |= {"linear": linear, "curvature": curvature}
        return {name: tensor.numpy().astype("float64") for name, tensor in found.items()}

    def _own_losses(self, chunk):
        """Returns the loss of each round of a chunk at the round's own weights."""
        inputs, before = chunk["inputs"], tf.zeros_like(chunk["before"])
        still = tf.zeros((inputs.shape[1], before.shape[1]), inputs.dtype)
        return self.losses(still, chunk | {"before": before})

    def _of_outputs(self, chunk):
        """Returns slope and curvature of the loss in each output, and whether these say it all."""
        chunk = {name: tensor for name, tensor in chunk.items() if name != "weight"}
        found = by_output(lambda points: self._slopes(chunk | {"points": points}), chunk["points"])
        slope, curvature, is_apart = found
        return by_example(slope), by_example(curvature), bool(is_apart)

    def _chunk_slopes(self, chunk):
        points = chunk["points"]
        with tf.GradientTape() as tape:
            tape.watch(points)
            value = self._at_points(points, chunk)
        return tape.gradient(value, points)

    def _sum(self, v, chunk):
        """Returns the sum of the Taylor losses of the rounds of a chunk, times their weights."""
        moved = tf.tensordot(chunk["inputs"], v, 1) - chunk["before"]
        weight = chunk.get("weight")
        if "curvature" in chunk:
            product = tf.linalg.matvec(chunk["curvature"], moved)
            by_example = tf.reduce_sum((chunk["linear"] + product / 2) * moved, 1) + chunk["loss"]
            return tf.reduce_sum(by_example if weight is None else weight * by_example)
        if "jacobian" in chunk:
            moved = tf.linalg.matvec(_flat(chunk["jacobian"], 2), _flat(moved, 1))
        point = chunk["points"] + tf.reshape(moved, tf.shape(chunk["points"]))
        return self._at_points(point, chunk)


def _flat(tensor, leading):
    """Returns a tensor with the axes after the leading ones, places and units, as one."""
    return tf.reshape(tensor, tf.concat([tf.shape(tensor)[:leading], [-1]], 0))
