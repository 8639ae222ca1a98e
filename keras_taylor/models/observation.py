"""A training step of a model that is also expanded to first order, in the same forward pass."""

from keras import activations, layers

from keras_taylor.derivatives.affine import AFFINE_LAYERS
from keras_taylor.derivatives.forward_mode import leaf_layers
from keras_taylor.taylor.batch import expand, loss_at
from keras_taylor.taylor.own_losses import OwnLoss

# Layers and activations whose outputs may have a second reader, see `may_share`.
READABLE = {
    *AFFINE_LAYERS,
    layers.Activation,
    layers.AveragePooling2D,
    layers.BatchNormalization,
    layers.Dropout,
    layers.Flatten,
    layers.InputLayer,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.ReLU,
    layers.Reshape,
}
ONE_OPERATION = {
    activations.linear,
    activations.relu,
    activations.sigmoid,
    activations.softmax,
    activations.tanh,
}


class Watched:
    """Mixin for models whose call and loss can be watched during a training step; abstract."""

    # Functions that `observed` sets while a step runs.
    _on_call = _on_loss = None

    def __call__(self, *args, **kwargs):
        run = super().__call__
        if self._on_call is None:
            return run(*args, **kwargs)
        return self._on_call(lambda: run(*args, **kwargs))

    def _compute_loss(self, *args, **kwargs):
        # Keras calls `compute_loss` by it, so that the loss is what a subclass makes of that.
        loss = super()._compute_loss(*args, **kwargs)
        if self._on_loss is not None:
            self._on_loss(loss)
        return loss


def observed(batch, directions, train):
    """Runs one training step of a `Watched` model, and expands the model in its forward pass.

    Args:
        batch: A `keras_taylor.taylor.batch.Batch` of the model, whose weights are what the forward
            pass reads them from: the values of the model's variables.
        directions: The directions to expand along, see `keras_taylor.taylor.batch.expand`.
        train: Function without arguments that runs the training step.

    Returns:
        The Taylor losses along the directions at the weights before the update, and the loss.
    """
    model, seen = batch.model, {}

    def on_call(call):
        # Only the first call is expanded; calls within it (nested copies of the model) run plainly.
        _watch(model, None, on_loss)
        seen["expanded"] = expand(batch, directions, lambda: (call(), model.losses, None))
        return seen["expanded"].outputs

    def on_loss(loss):
        seen["loss"] = loss

    _watch(model, on_call, on_loss)
    try:
        train()
    finally:
        _watch(model, None, None)
    return _taylor_losses(batch, seen["expanded"]), seen["loss"]


def observed_apart(batch, directions, train):
    """Runs one training step of a `Watched` model, and expands the model in a pass of its own.

    Args:
        batch: A `keras_taylor.taylor.batch.Batch` of the model before the step, of tensors that
            nobody else reads (`keras_taylor.backend.sealed`).
        directions: As of `observed`.
        train: As of `observed`.

    Returns:
        As `observed`.
    """
    seen, is_own = {}, isinstance(batch.compiled, OwnLoss)

    def on_loss(loss):
        seen["loss"] = loss
        _watch(batch.model, None, None)
        if is_own:
            # Before the update: a method may read what that changes, such as a count of steps.
            seen["values"] = _taylor_losses(batch, expand(batch, directions))

    _watch(batch.model, None, on_loss)
    try:
        train()
    finally:
        _watch(batch.model, None, None)
    if not is_own:
        seen["values"] = _taylor_losses(batch, expand(batch, directions))
    return seen["values"], seen["loss"]


def _taylor_losses(batch, expanded):
    return [loss_at(batch, expanded, number) for number in range(len(expanded.directions))]


def may_share(model, method):
    """Tells whether a model trains to the bit when its forward pass is read by the expansion, too.

    A second reader of a sum or product in the forward pass changes what TensorFlow's graph
    optimizer does with it: sums of sums become one, normalisations `x * a + b` are merged with what
    adds to them. So a pass is shared where layers of these kinds follow one another, between which
    nothing is merged.
    """
    return method == "layerwise" and all(map(_may_be_read, leaf_layers(model)))


def _may_be_read(layer):
    activation = getattr(layer, "activation", None)
    return type(layer) in READABLE and (activation is None or activation in ONE_OPERATION)


def _watch(model, on_call, on_loss):
    # Past Keras' tracking of attributes.
    object.__setattr__(model, "_on_call", on_call)
    object.__setattr__(model, "_on_loss", on_loss)
