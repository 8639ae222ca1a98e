"""One training step of a `TaylorModel`, whose forward pass also gives the Taylor losses."""

import tensorflow as tf
from keras import ops

from keras_taylor.derivatives import expansion
from keras_taylor.taylor.outputs import OutputLoss


class Step:
    """One training step: runs the model's forward pass once and keeps what comes out of it."""

    def __init__(self, model, method, parts, x, y):
        self.loss = None
        self._model, self._method, self._parts, self._x, self._y = model, method, parts, x, y
        self._output_loss = OutputLoss(model)

    def run(self, call):
        """Runs the model by `call()` and returns its outputs."""
        model = self._model
        # The pass runs once: what is called in it (nested copies of the model) runs plainly.
        model._taylor.current, step = None, self

        def forward():
            step._outputs = call()
            return step._output_loss.points(step._y, step._outputs)

        with tf.GradientTape() as tape:
            self._points, self._tangents = expansion.expand(
                self._method, model, forward, self._parts, inputs=self._x
            )
            # Each reading makes the penalties anew.
            penalties = model.losses
            self._penalty = sum(ops.sum(penalty) for penalty in penalties)
        self._slopes = None
        if penalties:
            weights = [v.value for v in model.trainable_variables]
            self._slopes = expansion.gradients(tape, self._penalty, weights)
        model._taylor.current = self
        return self._outputs

    def taylor_losses(self, y, sample_weight):
        """Returns the Taylor loss of each comparator."""
        return [
            self._taylor_loss(y, sample_weight, tangents, part)
            for tangents, part in zip(self._tangents, self._parts, strict=True)
        ]

    def _taylor_loss(self, y, sample_weight, tangents, part):
        moved = [point + t for point, t in zip(self._points, tangents, strict=True)]
        value = self._output_loss(y, self._outputs, moved, sample_weight)
        if self._slopes is None:
            return value
        moves = sum(ops.sum(s * step) for s, step in zip(self._slopes, part, strict=True))
        return value + self._penalty + moves
