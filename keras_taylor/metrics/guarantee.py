"""Metrics that hold a run against its convergence guarantee, from a `RegretTracker`."""

import keras

from keras_taylor.metrics.tracker_metric import TrackerMetric


@keras.saving.register_keras_serializable(package="keras_taylor")
class RelativeRegret(TrackerMetric):
    """Linear regret of the network over the convergence guarantee, without a unit.

        relative_regret = linear_regret / (R sqrt(sum_n ||g^n||^2))

    About 1 for a well tuned SGD, far above 1 for a badly tuned one; below 1 is better than the
    guarantee promises. The rounds are those since tracking started, also across epochs. NaN
    while nothing has moved (unless the radius is given), and in `evaluate` before the optimizer is
    built.

    Args:
        optimizer: The `keras_taylor.optimizers.RegretTracker` that trains the model, or an
            optimizer that wraps one.
        name: The name of the metric in the logs.
        dtype: The dtype policy of the metric.

    Raises:
        ValueError: if the optimizer has no tracker.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> optimizer = keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(0.1))
    >>> model.compile(optimizer, loss="mse", metrics=[RelativeRegret(optimizer)])
    >>> history = model.fit(np.ones((8, 4)), np.ones((8, 1)), batch_size=4, verbose=0)
    >>> sorted(history.history)
    ['loss', 'relative_regret']

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; the
    measure is a reconstruction.
    """

    def __init__(self, optimizer, name="relative_regret", dtype=None):
        super().__init__(optimizer, name, dtype)

    def read(self, tracker):
        return tracker.relative_regret()


@keras.saving.register_keras_serializable(package="keras_taylor")
class StepRatio(TrackerMetric):
    """Whether the network's steps agree with each other, without a unit.

        step_ratio = max_n ||W^n - W^1|| / sqrt(sum_n ||W^(n+1) - W^n||^2) / sqrt((1 + m) / (1 - m))

    with the momentum m. About 1 to 2 the learning rate fits; far above, a higher one would have
    paid; below 1, steps undo each other. The rounds are those since tracking started, also across
    epochs. NaN before the first update, 0 after it, and NaN in `evaluate` before the optimizer is
    built.

    Args:
        optimizer: The `keras_taylor.optimizers.RegretTracker` that trains the model, or an
            optimizer that wraps one; made with `track_step_ratio`.
        name: The name of the metric in the logs.
        dtype: The dtype policy of the metric.

    Raises:
        ValueError: if the optimizer has no tracker, or one without `track_step_ratio`.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> optimizer = keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(0.1))
    >>> model.compile(optimizer, loss="mse", metrics=[StepRatio(optimizer)])
    >>> history = model.fit(np.ones((8, 4)), np.ones((8, 1)), batch_size=4, verbose=0)
    >>> sorted(history.history)
    ['loss', 'step_ratio']

    Source: reconstruction, see `keras_taylor.tracking.step_ratio`.
    """

    def __init__(self, optimizer, name="step_ratio", dtype=None):
        super().__init__(optimizer, name, dtype)
        if not self._tracker_read.track_step_ratio:
            raise ValueError(
                f"{type(self).__name__} needs a RegretTracker with track_step_ratio=True, received "
                "one without"
            )

    def read(self, tracker):
        return tracker.step_ratio()
