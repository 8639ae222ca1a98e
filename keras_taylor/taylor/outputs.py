"""A batch loss as a function of the points at which a model's outputs are expanded.

Squared error and its like are convex in the output itself; for cross-entropies the points are the
logits (see `keras_taylor.taylor.convexity`).
"""

import dataclasses

import keras
import tensorflow as tf
from keras import ops

# The compiled loss has no public way to be evaluated apart from penalties and its own metrics, nor
# to tell which loss belongs to which output.
from keras.src.trainers.compile_utils import CompileLoss

from keras_taylor import backend
from keras_taylor.derivatives.forward_mode import cached_logits
from keras_taylor.taylor import convexity, endings


@dataclasses.dataclass(frozen=True)
class OutputLoss:
    """A loss of a model's outputs, from which penalties (regularisation) are left out.

    Sample weights, reductions and loss weights are those of the loss. A loss that is not known to
    be convex in the output is used all the same, with one warning.

    Args:
        compiled: A built loss as Keras compiles it; `None` where a subclass needs none.
    """

    compiled: CompileLoss | None

    # Whether it is a `compute_loss` of the model's own.
    is_own = False

    @classmethod
    def of(cls, compiled, y, outputs):
        """Returns the loss for targets and outputs of these structures.

        Args:
            compiled: A loss as Keras compiles it.
            y: Targets.
            outputs: Outputs of the model, in its structure.
        """
        if not compiled.built:
            compiled.build(y, outputs)
        found = cls(compiled)
        for loss in found.losses:
            convexity.warn_unless_convex(loss)
        return found

    @property
    def losses(self):
        """The Keras losses of the outputs, a list."""
        return [entry.loss for entry in self._entries]

    @property
    def not_convex(self):
        """The names of the losses that are not known to be convex in the points, a list."""
        return [repr(loss.name) for loss in self.losses if not convexity.is_convex(loss)]

    @property
    def is_quadratic(self):
        """Whether the loss is known to be quadratic in all outputs."""
        return all(map(convexity.is_quadratic, self.losses))

    @property
    def is_nonnegative(self):
        """Whether the loss is never negative, if targets and weights of examples are not."""
        return not self.is_own and all(map(convexity.is_nonnegative, self.losses))

    @property
    def is_kinked(self):
        """Whether the loss has kinks in some output."""
        return any(map(convexity.is_kinked, self.losses))

    def sources(self, outputs):
        """Returns the tensors of a model's run that its points come from: logits or outputs."""
        return [endings.source(self._at(path), output) for path, output in _with_paths(outputs)]

    def points(self, outputs):
        """Returns the tensors at which outputs are expanded: logits or the outputs themselves.

        The logits of probabilities are those that a softmax or sigmoid of Keras left at them, or
        else made from the probabilities.
        """
        return [endings.point(self._at(path), output) for path, output in _with_paths(outputs)]

    def expanded_points(self, outputs, tangents):
        """Returns the points, and for each direction their tangents.

        Args:
            outputs: Outputs of the model.
            tangents: For each direction the tangents of `sources(outputs)`.
        """
        sources, points = self.sources(outputs), self.points(outputs)
        losses = [self._at(path) for path, _ in _with_paths(outputs)]
        found = [
            [
                tangent if point is source else endings.logit_tangent(loss, source, tangent)
                for loss, source, point, tangent in zip(losses, sources, points, one, strict=True)
            ]
            for one in tangents
        ]
        return points, found

    def __call__(self, y, outputs, points, sample_weight=None):
        """Returns the loss, a scalar, with the outputs moved to other points.

        Args:
            y: Targets.
            outputs: Outputs of the model; their structure, logits and masks are used.
            points: Tensors like those of `points`.
            sample_weight: As in `fit`.
        """
        # The scope keeps the metrics of the single outputs as they are.
        with keras.StatelessScope():
            return self.compiled(y, self.predictions(outputs, points), sample_weight)

    def predictions(self, outputs, points):
        """Returns a model's outputs moved to other points, as the loss takes them.

        Args:
            outputs: As of a call.
            points: As of a call.
        """
        found = [
            _prediction(self._at(path), output, point)
            for (path, output), point in zip(_with_paths(outputs), points, strict=True)
        ]
        return keras.tree.pack_sequence_as(outputs, found)

    def penalty(self, y, outputs, points, sample_weight, penalties):
        """Returns what training adds to the loss of the outputs, a scalar; `None` for nothing.

        Args:
            y: As of a call.
            outputs: As of a call.
            points: As of a call.
            sample_weight: As of a call.
            penalties: What the model's run left: regularisation, `add_loss`.
        """
        del y, outputs, points, sample_weight
        if not penalties:
            return None
        dtype = keras.backend.result_type(*(penalty.dtype for penalty in penalties))
        total = sum(ops.cast(ops.sum(penalty), dtype) for penalty in penalties)
        # Each replica has its share, as Keras' losses have.
        return total / backend.replica_count()

    def output_at(self, point, from_logits):
        """Returns a model's only output, made again from the point it is expanded at.

        Args:
            point: A tensor like that of `points`.
            from_logits: What `ends_in_logits` says of the model's outputs.
        """
        (loss,) = self.losses
        is_at_logits = convexity.is_cross_entropy(loss) and (
            from_logits or (convexity.takes_probabilities(loss) and convexity.normalises(loss))
        )
        if is_at_logits:
            return convexity.CROSS_ENTROPIES[convexity.function_of(loss)](point)
        return point

    def replaced(self, function, y, outputs):
        """Returns the loss with `function(loss)` in place of each output's Keras loss.

        Args:
            function: Function from a Keras loss to a Keras loss.
            y: Targets.
            outputs: Outputs of the model, in its structure.
        """
        entries = {tuple(entry.path): entry for entry in self._entries}
        found = [entries.get(path) for path, _ in _with_paths(outputs)]
        losses = [None if entry is None else function(entry.loss) for entry in found]
        weights = [
            1.0 if entry is None or entry.loss_weights is None else entry.loss_weights
            for entry in found
        ]
        is_single = not keras.tree.is_nested(outputs)
        compiled = CompileLoss(
            losses[0] if is_single else keras.tree.pack_sequence_as(outputs, losses),
            weights[0] if is_single else keras.tree.pack_sequence_as(outputs, weights),
            output_names=self.compiled.output_names,
        )
        return OutputLoss.of(compiled, y, outputs)

    @property
    def _entries(self):
        return [] if self.compiled is None else self.compiled._flat_losses

    def _at(self, path):
        return next((entry.loss for entry in self._entries if tuple(entry.path) == path), None)


def _prediction(loss, output, point):
    prediction = ops.cast(point, keras.config.floatx() if point.dtype != "float64" else "float64")
    if endings.takes_logits(loss, output):
        # Keras' activations leave the logits at the probability, for the loss to compute with.
        prediction = convexity.CROSS_ENTROPIES[convexity.function_of(loss)](prediction)
    mask = getattr(output, "_keras_mask", None)
    if mask is not None:
        # A layer that masks leaves the mask at its output, for the loss to weight with; the tensor
        # may be one that others hold too.
        logits = cached_logits(prediction)
        prediction = tf.identity(prediction)
        prediction._keras_mask = mask
        if logits is not None:
            prediction._keras_logits = logits
    return prediction


def _with_paths(outputs):
    return [(tuple(path), leaf) for path, leaf in keras.tree.flatten_with_path(outputs)]
