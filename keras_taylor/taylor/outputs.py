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

from keras_taylor.derivatives.forward_mode import cached_logits
from keras_taylor.taylor import convexity


def compiled_loss(model, loss=None):
    """Returns the loss of a model as Keras compiles it.

    Args:
        model: A model.
        loss: A Keras loss, what `compile` takes as loss, or what this function returned; `None` for
            the loss that the model was compiled with.

    Raises:
        ValueError: if there is no loss.
    """
    if isinstance(loss, CompileLoss):
        return loss
    if loss is None and not model.compiled:
        raise ValueError(
            f"model {model.name!r} is not compiled and no loss was given: compile the model "
            "or pass `loss`"
        )
    if loss is not None:
        return CompileLoss(loss, output_names=getattr(model, "output_names", None))
    if model._compile_loss is None:
        raise ValueError(f"model {model.name!r} was compiled without a loss: pass `loss`")
    return model._compile_loss


@dataclasses.dataclass(frozen=True)
class OutputLoss:
    """A loss of a model's outputs, from which penalties (regularisation) are left out.

    Sample weights, reductions and loss weights are those of the loss. A loss that is not known to
    be convex in the output is used all the same, with one warning.

    Args:
        compiled: A built loss as Keras compiles it.
    """

    compiled: CompileLoss

    @classmethod
    def of(cls, compiled, y, outputs):
        """Returns the loss for targets and outputs of these structures.

        Args:
            compiled: A loss from `compiled_loss`.
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
        return [entry.loss for entry in self.compiled._flat_losses]

    @property
    def is_quadratic(self):
        """Whether the loss is known to be quadratic in all outputs."""
        return all(map(convexity.is_quadratic, self.losses))

    @property
    def is_kinked(self):
        """Whether the loss has kinks in some output."""
        return any(map(convexity.is_kinked, self.losses))

    def points(self, outputs):
        """Returns the tensors at which outputs are expanded: logits or the outputs themselves.

        Raises:
            ValueError: if a cross-entropy is on probabilities whose logits cannot be reached.
        """
        return [_point(path, output, self._at(path)) for path, output in _with_paths(outputs)]

    def __call__(self, y, outputs, points, sample_weight=None):
        """Returns the loss, a scalar, with the outputs moved to other points.

        Args:
            y: Targets.
            outputs: Outputs of the model; their structure, logits and masks are used.
            points: Tensors like those of `points`.
            sample_weight: As in `fit`.
        """
        predictions = [
            _prediction(self._at(path), output, point)
            for (path, output), point in zip(_with_paths(outputs), points, strict=True)
        ]
        predictions = keras.tree.pack_sequence_as(outputs, predictions)
        # The scope keeps the metrics of the single outputs as they are.
        with keras.StatelessScope():
            return self.compiled(y, predictions, sample_weight)

    def output_at(self, point, from_logits):
        """Returns a model's only output, made again from the point it is expanded at.

        Args:
            point: A tensor like that of `points`.
            from_logits: What `ends_in_logits` says of the model's outputs.
        """
        (loss,) = self.losses
        if from_logits and convexity.is_cross_entropy(loss):
            return convexity.CROSS_ENTROPIES[convexity.function_of(loss)](point)
        return point

    def replaced(self, function, y, outputs):
        """Returns the loss with `function(loss)` in place of each output's Keras loss.

        Args:
            function: Function from a Keras loss to a Keras loss.
            y: Targets.
            outputs: Outputs of the model, in its structure.
        """
        entries = {tuple(entry.path): entry for entry in self.compiled._flat_losses}
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

    def _at(self, path):
        entries = self.compiled._flat_losses
        return next((entry.loss for entry in entries if tuple(entry.path) == path), None)


def ends_in_logits(outputs):
    """Tells whether the first output is a softmax or sigmoid of logits that Keras left at it."""
    return cached_logits(keras.tree.flatten(outputs)[0]) is not None


def _point(path, output, loss):
    if not convexity.is_cross_entropy(loss):
        return output
    logits = cached_logits(output)
    if logits is None and convexity.takes_probabilities(loss):
        where = "" if not path else f" {'/'.join(map(str, path))!r}"
        raise ValueError(
            f"the logits of output{where} cannot be reached: its loss is a cross-entropy on "
            "probabilities, which is convex in the logits only. Let the model end in a softmax or "
            "sigmoid of keras.activations or keras.layers, or return logits and use a loss with "
            "from_logits=True"
        )
    return output if logits is None else logits


def _prediction(loss, output, point):
    prediction = ops.cast(point, keras.config.floatx() if point.dtype != "float64" else "float64")
    if convexity.is_cross_entropy(loss) and cached_logits(output) is not None:
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
