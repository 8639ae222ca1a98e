"""Metrics that read a `RegretTracker` and have no state themselves."""

import warnings

import keras
from keras import ops

from keras_taylor.optimizers.regret_tracker import latest_tracker, tracker_of


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


def _found(name):
    tracker = latest_tracker(name)
    if tracker is None:
        raise ValueError(
            f"there is no RegretTracker named {name!r}, which this metric read when it was saved: "
            "load it with its model, or make a new metric with its optimizer"
        )
    return tracker
