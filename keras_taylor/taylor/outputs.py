"""Where a loss is convex: the points at which a model's outputs are expanded.

Squared error and its like are convex in the output itself. A cross-entropy on probabilities is
convex in the logits, the pre-activation of the softmax or sigmoid that the model ends in; a
probability that is moved along a tangent leaves the simplex.
"""

import copy
import functools
import warnings

import keras
import tensorflow as tf
from keras import losses, ops

# The compiled loss has no public way to be evaluated apart from penalties and its own metrics, nor
# to tell which loss belongs to which output.
from keras.src.trainers.compile_utils import CompileLoss

from keras_taylor.derivatives.forward_mode import cached_logits

CROSS_ENTROPIES = {
    losses.binary_crossentropy: keras.activations.sigmoid,
    losses.categorical_crossentropy: keras.activations.softmax,
    losses.sparse_categorical_crossentropy: keras.activations.softmax,
}
CONVEX_FUNCTIONS = {
    *CROSS_ENTROPIES,
    losses.mean_squared_error,
    losses.mean_absolute_error,
    losses.mean_absolute_percentage_error,
    losses.huber,
    losses.log_cosh,
    losses.poisson,
    losses.hinge,
    losses.squared_hinge,
    losses.categorical_hinge,
}


class OutputLoss:
    """A batch loss as a function of the points that a model's outputs are expanded at.

    Sample weights, reductions and loss weights are those of the loss; penalties (regularisation)
    are no part of it.

    A loss that is not known to be convex in the output is used all the same, with one warning. A
    loss of your own says that it is by an attribute `convex_in_output = True`.

    Args:
        model: A model.
        loss: A Keras loss, or what `compile` takes as loss; `None` for the compiled one.

    Raises:
        ValueError: if there is no loss.
    """

    def __init__(self, model, loss=None):
        if loss is None and not model.compiled:
            raise ValueError(
                f"model {model.name!r} is not compiled and no loss was given: compile the model "
                "or pass `loss`"
            )
        if loss is None:
            self._loss = model._compile_loss
        else:
            self._loss = CompileLoss(loss, output_names=getattr(model, "output_names", None))
        if self._loss is None:
            raise ValueError(f"model {model.name!r} was compiled without a loss: pass `loss`")

    def points(self, y, outputs):
        """Returns the tensors at which outputs are expanded: logits or the outputs themselves.

        Args:
            y: Targets, which the loss may need to find out its kind.
            outputs: Outputs of the model, in its structure.

        Raises:
            ValueError: if a cross-entropy is on probabilities whose logits cannot be reached.
        """
        self._build(y, outputs)
        self._has_logits = cached_logits(keras.tree.flatten(outputs)[0]) is not None
        return [
            _point(path, output, self._loss_of(path)) for path, output in _flat_with_paths(outputs)
        ]

    def __call__(self, y, outputs, points, sample_weight=None):
        """Returns the loss, a scalar, with the outputs at other points.

        Args:
            y: Targets.
            outputs: Outputs of the model; their structure is used.
            points: Tensors like those of `points`.
            sample_weight: As in `fit`.
        """
        predictions = [
            _prediction(self._loss_of(path), output, point)
            for (path, output), point in zip(_flat_with_paths(outputs), points, strict=True)
        ]
        predictions = keras.tree.pack_sequence_as(outputs, predictions)
        # The scope keeps the metrics of the single outputs as they are.
        with keras.StatelessScope():
            return self._loss(y, predictions, sample_weight)

    def losses(self):
        """Returns the Keras losses of the outputs, once `points` was called."""
        return [loss for _, loss, _, _ in self._loss._flat_losses]

    def with_losses(self, function):
        """Returns the same with `function(loss)` in place of each output's, once `points` ran."""
        other = copy.copy(self)
        # `copy.copy` of it goes through saving, which it does not support.
        other._loss = object.__new__(CompileLoss)
        vars(other._loss).update(vars(self._loss))
        other._loss._flat_losses = [
            entry._replace(loss=function(entry.loss)) for entry in self._loss._flat_losses
        ]
        return other

    def outputs_at(self, points):
        """Returns a model's only output, made again from the point it is expanded at.

        Args:
            points: A list of one tensor like that of `points`.

        Raises:
            ValueError: if there are several outputs.
        """
        if len(points) != 1:
            raise ValueError(f"expected one output, received {len(points)}")
        function = _function(self.losses()[0])
        if self._has_logits and function in CROSS_ENTROPIES:
            return CROSS_ENTROPIES[function](points[0])
        return points[0]

    def _build(self, y, outputs):
        if not self._loss.built:
            self._loss.build(y, outputs)
        for loss in self.losses():
            if not is_convex(loss):
                _warn_not_convex(loss.name, _function(loss) or type(loss))

    def _loss_of(self, path):
        found = [loss for at, loss, _, _ in self._loss._flat_losses if tuple(at) == path]
        return found[0] if found else None


def is_convex(loss):
    """Tells whether a Keras loss is known to be convex in the output that is expanded."""
    declared = (getattr(one, "convex_in_output", False) for one in (loss, _function(loss)))
    return _function(loss) in CONVEX_FUNCTIONS or any(declared)


def is_quadratic(loss):
    """Tells whether a Keras loss is known to be quadratic in the output.

    A loss of your own says that it is by an attribute `quadratic_in_output = True`.
    """
    is_squared = _function(loss) is losses.mean_squared_error
    return is_squared or getattr(loss, "quadratic_in_output", False)


def _function(loss):
    return getattr(loss, "fn", None)


def _is_on_probabilities(loss):
    arguments = getattr(loss, "_fn_kwargs", {})
    return _function(loss) in CROSS_ENTROPIES and not arguments.get("from_logits", False)


def _point(path, output, loss):
    if _function(loss) not in CROSS_ENTROPIES:
        return output
    logits = cached_logits(output)
    if logits is None and _is_on_probabilities(loss):
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
    if _function(loss) in CROSS_ENTROPIES and cached_logits(output) is not None:
        # Keras' activations leave the logits at the probability, for the loss to compute with.
        prediction = CROSS_ENTROPIES[_function(loss)](prediction)
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


def _flat_with_paths(outputs):
    return [(tuple(path), leaf) for path, leaf in keras.tree.flatten_with_path(outputs)]


@functools.cache
def _warn_not_convex(name, kind):
    del kind  # Another loss of the same name is another warning.
    warnings.warn(
        f"loss {name!r} is not known to be convex in the model's output: its Taylor loss may not "
        "be convex in the comparator, and bounds and certificates may not hold. If it is convex, "
        "give it an attribute `convex_in_output = True`",
        stacklevel=2,
    )
