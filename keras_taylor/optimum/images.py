"""F within the span of some directions, from the images `J b` of these in the outputs.

With the images kept, outputs anywhere in the span are sums of them, and F, its gradient and its
Hessian there take no pass.
"""

import numpy as np
import tensorflow as tf

from keras_taylor.optimum.passes import collected
from keras_taylor.optimum.subspace import Rows
from keras_taylor.taylor.batch import expand
from keras_taylor.taylor.unit_losses import FEW_OUTPUTS, by_example

# The memory for the images of a solve, twice, since products with the curvature are made of them.
IMAGE_BYTES = 2 * 2**30
# Directions that a long solve looks along.
DIRECTIONS = 200


class OutputLosses:
    """The losses of all examples as functions of their outputs; the same for all parts.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`, for which `fits`.
        loss: A `keras_taylor.optimum.features.ChunkLoss`.
    """

    def __init__(self, rounds, loss):
        self._rounds, self._loss = rounds, loss
        self.output_shape = tuple(expand(rounds.first_batch).points[0].shape[1:])
        count = rounds.kept(len(rounds))
        found = list(collected(rounds.dataset, self._targets, count, IMAGE_BYTES))
        self._chunk = {name: tf.concat([one[name] for one in found], 0) for name in found[0]}
        self._graph = tf.function(self._derivatives, autograph=False, reduce_retracing=True)

    def _targets(self, weight, tensors):
        _, _, _, y, sample_weight, _ = self._rounds.trajectory.unpack(tensors)
        found = {"y": y, "weight": tf.fill(tf.shape(y)[:1], weight)}
        return found if sample_weight is None else found | {"sample_weight": sample_weight}

    def derivatives(self, points):
        """Returns the sum of `w_n phi_n` over the first examples, its gradient and Hessian.

        Args:
            points: The outputs of the examples, `(examples, outputs)`.

        Returns:
            A number, an array like the points, and `(examples, outputs, outputs)`.
        """
        chunk = {name: tensor[: len(points)] for name, tensor in self._chunk.items()}
        value, slopes, blocks = self._graph(tf.constant(points), chunk)
        return float(value), slopes.numpy(), blocks.numpy()

    def _derivatives(self, points, chunk):
        rounds = tf.shape(points)[0] // self._rounds.batch_size
        shape = tf.concat([[-1], self.output_shape], 0)

        with tf.GradientTape(persistent=True) as outer:
            outer.watch(points)
            with tf.GradientTape() as tape:
                tape.watch(points)
                value = self._loss(tf.reshape(points, shape), chunk, rounds)
            slopes = tape.gradient(value, points)
            columns = tf.unstack(slopes, num=points.shape[1], axis=1)
        zero = tf.UnconnectedGradients.ZERO
        blocks = [outer.gradient(c, points, unconnected_gradients=zero) for c in columns]
        return value, slopes, tf.stack(blocks, 1)


def fits(rounds, part):
    """Whether images of a part's directions can be kept: few outputs of examples one by one."""
    reductions = [loss.reduction for loss in rounds.loss.losses]
    is_known = len(reductions) == 1 and "mean_with_sample_weight" not in reductions
    if not is_known or rounds.loss.is_own or rounds.batch_size is None:
        return False
    still = expand(rounds.first_batch)
    shape = still.points[0].shape[1:]
    if None in shape or len(still.points) > 1 or still.penalty is not None:
        return False
    outputs = by_example(still.points[0]).shape[1]
    examples = rounds.batch_size * rounds.kept(len(rounds))
    needed = 8 * examples * outputs * (2 * min(DIRECTIONS, part.size) + outputs)
    return outputs <= FEW_OUTPUTS and needed <= IMAGE_BYTES and tf.is_tensor(rounds.first_batch.y)


class Images:
    """The images of a basis, and F in its span.

    Args:
        output_losses: The `OutputLosses`.
        at_center: The outputs T(c) of the examples, `(examples, outputs)`.
        horizon: N, which F is the mean over.
    """

    def __init__(self, output_losses, at_center, horizon):
        self._losses, self._at_center, self._horizon = output_losses, at_center, horizon
        self._images = Rows(at_center.size)

    def append(self, image):
        """Adds the image of the next vector, like the outputs."""
        self._images.append(image.ravel())

    def slopes(self, z):
        """Returns F at `c + B'z` and its gradient in the outputs."""
        value, slopes, _ = self._at(z)
        return value, slopes

    def restricted(self, z):
        """Returns F, its gradient and its Hessian in z."""
        value, slopes, blocks = self._at(z)
        images = self._images.rows[: len(z)]
        curved = images.reshape(len(z), *self._at_center.shape)
        curved = np.einsum("mnk,nkl->mnl", curved, blocks, optimize=True)
        return value, images @ slopes.ravel(), curved.reshape(images.shape) @ images.T

    def _at(self, z):
        moved = self._at_center + (z @ self._images.rows[: len(z)]).reshape(self._at_center.shape)
        value, slopes, blocks = self._losses.derivatives(moved)
        return value / self._horizon, slopes / self._horizon, blocks / self._horizon
