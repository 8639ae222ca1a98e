"""Metrics of linear regret, the optimum's lower bound and the loss, from a `RegretTracker`."""

import keras

from keras_taylor.metrics.tracker_metric import TrackerMetric
from keras_taylor.tracking import linear_regret


@keras.saving.register_keras_serializable(package="keras_taylor")
class LinearRegret(TrackerMetric):
    """Average linear regret of the network over the rounds tracked, in units of the loss.

        average_linear_regret = (sum_n <g^n, W^n - W^1> + R ||sum_n g^n||) / N

    It is an upper bound of the average Taylor regret: of how much lower the average training loss
    could have been, given the landscape that the run saw within R of `W^1`. The average loss is
    at most the Taylor optimum plus this. The rounds are those since tracking started, also across
    epochs. NaN before the first round, and in `evaluate` before the optimizer is built.

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
    >>> model.compile(optimizer, loss="mse", metrics=[LinearRegret(optimizer)])
    >>> history = model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)
    >>> sorted(history.history)
    ['average_linear_regret', 'loss']

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; linear
    regret is a reconstruction.
    """

    def __init__(self, optimizer, name="average_linear_regret", dtype=None):
        super().__init__(optimizer, name, dtype)

    def read(self, tracker):
        return linear_regret.average(tracker.linear_regret(), tracker.steps)


@keras.saving.register_keras_serializable(package="keras_taylor")
class OptimumLowerBound(TrackerMetric):
    """Lower bound of the Taylor optimum of the network, in units of the loss.

        optimum_lower_bound = average_loss - average_linear_regret

    No comparator within R of `W^1` has a lower average Taylor loss over the rounds tracked. The
    rounds are those since tracking started, also across epochs. NaN before the first round, where
    the tracker did not see the loss (as under a `LossScaleOptimizer`), and in `evaluate` before
    the optimizer is built.

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
    >>> model.compile(optimizer, loss="mse", metrics=[OptimumLowerBound(optimizer)])
    >>> history = model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)
    >>> sorted(history.history)
    ['loss', 'optimum_lower_bound']

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; linear
    regret is a reconstruction.
    """

    def __init__(self, optimizer, name="optimum_lower_bound", dtype=None):
        super().__init__(optimizer, name, dtype)

    def read(self, tracker):
        return tracker.optimum_lower_bound()


@keras.saving.register_keras_serializable(package="keras_taylor")
class AverageLoss(TrackerMetric):
    """Mean of the training loss over the rounds tracked, to which the bounds refer.

        average_loss = (1/N) sum_n l^n

    The rounds are those since tracking started, also across epochs, while the `loss` that Keras
    logs is the mean over the present epoch. NaN before the first round, where the tracker did not
    see the loss (as under a `LossScaleOptimizer`), and in `evaluate` before the optimizer is
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
    >>> model.compile(optimizer, loss="mse", metrics=[AverageLoss(optimizer)])
    >>> history = model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)
    >>> sorted(history.history)
    ['average_loss', 'loss']
    """

    def __init__(self, optimizer, name="average_loss", dtype=None):
        super().__init__(optimizer, name, dtype)

    def read(self, tracker):
        return tracker.average_loss
