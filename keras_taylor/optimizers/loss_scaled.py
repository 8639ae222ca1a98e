"""Loss scaling that lets a tracker see the loss."""

import keras

from keras_taylor.optimizers.replicas import check_replicas


@keras.saving.register_keras_serializable(package="keras_taylor")
class LossScaled(keras.mixed_precision.LossScaleOptimizer):
    """A Keras `LossScaleOptimizer` that hands the loss on to the optimizer it wraps.

    Training is that of `keras.mixed_precision.LossScaleOptimizer`, to the bit. Under mixed_float16,
    `compile` puts one of these around any optimizer that is none, and it keeps the loss to itself:
    a `RegretTracker` inside then has no `average_loss` and no `optimum_lower_bound`. With a
    `LossScaled` around it, it has both. Rounds whose gradients are not finite are skipped as by
    Keras; the tracker does not see them. Several replicas are refused, since Keras looks for such
    gradients on the first one alone.

    Args:
        inner_optimizer: The optimizer that trains, such as a `RegretTracker`.
        initial_scale: The loss scale to start with.
        dynamic_growth_steps: The scale doubles after this many rounds with finite gradients.
        name: The name of the optimizer.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> tracker = keras_taylor.optimizers.RegretTracker("sgd")
    >>> model.compile(keras_taylor.optimizers.LossScaled(tracker), loss="mse")
    >>> history = model.fit(np.ones((8, 4)), np.zeros((8, 1)), verbose=0)
    >>> bool(tracker.average_loss > 0)
    True

    Source: Micikevicius et al., Mixed precision training, ICLR 2018, for the scaling.
    """

    def apply(self, grads, trainable_variables=None):
        check_replicas(self)
        return super().apply(grads, trainable_variables)

    def scale_loss(self, loss):
        # It has no loss scale itself, so all it does is look.
        self.inner_optimizer.scale_loss(loss)
        return super().scale_loss(loss)
