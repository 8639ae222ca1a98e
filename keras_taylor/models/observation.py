"""A training step of a model that is also expanded to first order, in the same forward pass."""

from keras_taylor.taylor.batch import expand


class Watched:
    """Mixin for models whose call and loss can be watched during a training step; abstract."""

    # Functions that `observed` sets while a step runs.
    _on_call = _on_loss = None

    def __call__(self, *args, **kwargs):
        run = super().__call__
        if self._on_call is None:
            return run(*args, **kwargs)
        return self._on_call(lambda: run(*args, **kwargs))

    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
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
        The `keras_taylor.taylor.batch.Expanded` at the weights before the update, and the loss.
    """
    model, seen = batch.model, {}

    def on_call(call):
        # Only the first call is expanded; calls within it (nested copies of the model) run plainly.
        _watch(model, None, on_loss)
        seen["expanded"] = expand(batch, directions, lambda: (call(), model.losses))
        return seen["expanded"].outputs

    def on_loss(loss):
        seen["loss"] = loss

    _watch(model, on_call, on_loss)
    try:
        train()
    finally:
        _watch(model, None, None)
    return seen["expanded"], seen["loss"]


def _watch(model, on_call, on_loss):
    # Past Keras' tracking of attributes.
    object.__setattr__(model, "_on_call", on_call)
    object.__setattr__(model, "_on_loss", on_loss)
