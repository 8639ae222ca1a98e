"""Metrics that read a `RegretTracker` and have no state themselves."""

import warnings

import keras
from keras import ops

from keras_taylor.optimizers.regret_tracker import latest_tracker, tracker_of
from keras_taylor.tracking import linear_regret


class TrackerMetric(keras.metrics.Metric):
    """Base of metrics that read a tracker; abstract. Subclasses define `read`.

    The values are about all rounds since tracking started, also across epochs: `reset_state`
    changes nothing. They are NaN before the first round and before the optimizer is built.

    Args:
        optimizer: A `keras_taylor.optimizers.RegretTracker`, or an optimizer that wraps one.
        name: The name of the metric in the logs.
        dtype: The dtype policy of the metric.

    Raises:
        ValueError: if the optimizer has no tracker.
    """

    def __init__(self, optimizer, name, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self._tracker_read = tracker_of(optimizer)
        if self._tracker_read is None:
            raise ValueError(
                f"{type(self).__name__} reads a keras_taylor.optimizers.RegretTracker, received "
                f"{optimizer!r}: wrap the optimizer in a RegretTracker and pass that one to "
                "`compile` and to the metric"
            )

    def read(self, tracker):
        """Returns the value, a scalar tensor.

        Args:
            tracker: A built `RegretTracker`.
        """
        raise NotImplementedError

    def update_state(self, *args, **kwargs):
        """Does nothing, because the tracker has the state."""

    def reset_state(self):
        """Does nothing, because the tracker has the state; `start_tracking` resets that."""

    def result(self):
        if not self._tracker_read.built:
            warnings.warn(
                f"metric {self.name!r} is NaN because its optimizer is not built. A function that "
                "Keras traces now, such as that of `evaluate`, goes on to give NaN until `compile` "
                "is called again. To avoid it, call `optimizer.build(model.trainable_variables)` "
                "beforehand",
                stacklevel=2,
            )
            return ops.convert_to_tensor(float("nan"), self.dtype)
        return ops.cast(self.read(self._tracker_read), self.dtype)

    def get_config(self):
        # The model saves the optimizer; the metric finds it by its name.
        return {**super().get_config(), "optimizer": self._tracker_read.name}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "optimizer": _found(config["optimizer"])})


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


def _found(name):
    tracker = latest_tracker(name)
    if tracker is None:
        raise ValueError(
            f"there is no RegretTracker named {name!r}, which this metric read when it was saved: "
            "load it with its model, or make a new metric with its optimizer"
        )
    return tracker
