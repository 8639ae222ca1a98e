"""Metrics that read a `RegretTracker`: they keep no state of their own."""

import warnings

import keras
from keras import ops

from keras_taylor.optimizers.regret_tracker import latest_tracker, tracker_of
from keras_taylor.tracking import linear_regret


class TrackerMetric(keras.metrics.Metric):
    """Base of metrics that read a tracker; abstract. Subclasses define `read`.

    The values cover all rounds since tracking started, also across epochs: `reset_state` changes
    nothing. Before the first round, and before the optimizer is built, they are NaN.

    Args:
        optimizer: A `keras_taylor.optimizers.RegretTracker`, or an optimizer that wraps one.
        name: Name of the metric in the logs.
        dtype: Dtype policy of the metric, as of every Keras metric.

    Raises:
        ValueError: if there is no tracker in the optimizer.
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
        """Returns the value as a scalar tensor, read from a built tracker."""
        raise NotImplementedError

    def update_state(self, *args, **kwargs):
        """Does nothing: the tracker has the state."""

    def reset_state(self):
        """Does nothing: the tracker has the state, see its `start_tracking`."""

    def result(self):
        if not self._tracker_read.built:
            warnings.warn(
                f"metric {self.name!r} is NaN: its optimizer is not built. Where a function such "
                "as that of `evaluate` was traced before, it stays NaN in it until `compile` is "
                "called again; `optimizer.build(model.trainable_variables)` beforehand avoids it",
                stacklevel=2,
            )
            return ops.convert_to_tensor(float("nan"), self.dtype)
        return ops.cast(self.read(self._tracker_read), self.dtype)

    def get_config(self):
        # The optimizer is saved with the model, once; the metric finds it by its name.
        return {**super().get_config(), "optimizer": self._tracker_read.name}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "optimizer": _found(config["optimizer"])})


@keras.saving.register_keras_serializable(package="keras_taylor")
class LinearRegret(TrackerMetric):
    """Average linear regret of the network: `linear_regret(N) / N`, in units of the loss.

    An upper bound of how much lower the average training loss could have been, given what the
    run saw. `average_loss` is at most the Taylor optimum plus this.

    Args, raises: see `keras_taylor.metrics.linear_regret.TrackerMetric`.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> optimizer = keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(0.1))
    >>> model.compile(optimizer, loss="mse", metrics=[LinearRegret(optimizer)])
    >>> history = model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)
    >>> sorted(history.history)
    ['average_linear_regret', 'loss']
    """

    def __init__(self, optimizer, name="average_linear_regret", dtype=None):
        super().__init__(optimizer, name, dtype)

    def read(self, tracker):
        return linear_regret.average(tracker.linear_regret(), tracker.steps)


@keras.saving.register_keras_serializable(package="keras_taylor")
class OptimumLowerBound(TrackerMetric):
    """Lower bound of the Taylor optimum of the network: average loss - linear regret / N.

    What the landscape that the run saw had to offer within the radius is no better than this.

    Args, raises: see `keras_taylor.metrics.linear_regret.TrackerMetric`.
    """

    def __init__(self, optimizer, name="optimum_lower_bound", dtype=None):
        super().__init__(optimizer, name, dtype)

    def read(self, tracker):
        return tracker.optimum_lower_bound()


@keras.saving.register_keras_serializable(package="keras_taylor")
class AverageLoss(TrackerMetric):
    """Mean training loss over the rounds tracked, which the bounds refer to.

    Beside it, Keras's own `loss` is the mean over the present epoch.

    Args, raises: see `keras_taylor.metrics.linear_regret.TrackerMetric`.
    """

    def __init__(self, optimizer, name="average_loss", dtype=None):
        super().__init__(optimizer, name, dtype)

    def read(self, tracker):
        return tracker.average_loss


def _found(name):
    tracker = latest_tracker(name)
    if tracker is None:
        raise ValueError(
            f"no RegretTracker named {name!r} lives, which this metric read when it was saved: "
            "load it with its model, or make the metric anew with its optimizer"
        )
    return tracker
