"""A callback that shows regret and the bound of the optimum in TensorBoard."""

import keras
import numpy as np
import tensorflow as tf

from keras_taylor.callbacks.cadence import Cadence
from keras_taylor.models import TaylorModel
from keras_taylor.optimizers.regret_tracker import tracker_of
from keras_taylor.tracking import linear_regret


class RegretSummaries(Cadence):
    """Writes regret, the bound of the optimum and the loss for TensorBoard while a model trains.

    Everything is an average over rounds, in units of the loss, so that it can be looked at beside
    it. From a `RegretTracker` in the optimizer, over the rounds since tracking started:

    - scalars `regret/average_loss`, `regret/average_linear_regret` (an upper bound of regret) and
      `regret/optimum_lower_bound`, of the network;
    - scalars `layer_average_linear_regret/<layer>` and `layer_optimum_lower_bound/<layer>`;
    - histograms over the units of a layer, `unit_average_linear_regret/<layer>` and
      `unit_optimum_lower_bound/<layer>`.

    From the logs, over the rounds of the epoch so far: scalars `epoch/loss` and, of a
    `TaylorModel`, `epoch/taylor_loss` and `epoch/taylor_regret`, which add up to it.

    The step is the optimizer's number of updates, which goes on where a saved model is trained
    further. Give each run of a sweep a directory of its own, and put `hparams.KerasCallback` of
    `tensorboard.plugins.hparams.api` beside this one for the table of hyperparameters.

    Args:
        log_dir: The directory to write to.
        every: `"epoch"`, or a number of rounds. A look copies two numbers for each unit from the
            device.

    Raises:
        ValueError: if `every` is no positive number; in `fit`, if the model is neither a
            `TaylorModel` nor trained by a `RegretTracker`.

    Example:

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="a")])
    >>> model.compile(keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(0.1)), loss="mse")
    >>> summaries = RegretSummaries(tempfile.mkdtemp())  # then: tensorboard --logdir=...
    >>> history = model.fit(np.eye(4), np.ones((4, 1)), verbose=0, callbacks=[summaries])
    """

    def __init__(self, log_dir, every="epoch"):
        super().__init__(every)
        self._log_dir, self._writer = log_dir, None

    def on_train_begin(self, logs=None):
        if not self._tracker() and not isinstance(self.model, TaylorModel):
            raise ValueError(
                f"{type(self).__name__} found nothing to show: compile the model with a "
                "keras_taylor.optimizers.RegretTracker around its optimizer, or make it a "
                "keras_taylor.TaylorModel"
            )
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self._log_dir))

    def on_train_end(self, logs=None):
        self._writer.flush()

    def take(self, logs=None):
        tracker = self._tracker()
        with self._writer.as_default(step=int(self.model.optimizer.iterations)):
            for name, value in (logs or {}).items():
                if name == "loss" or name.startswith("taylor_"):
                    tf.summary.scalar(f"epoch/{name}", value)
            if tracker and tracker.steps > 0:
                write_tracker(tracker)

    def _tracker(self):
        return tracker_of(self.model.optimizer)


def write_tracker(tracker):
    """Writes what a tracker knows to the default summary writer; see `RegretSummaries`."""
    tf.summary.scalar("regret/average_loss", tracker.average_loss)
    for name, read in _readers(tracker).items():
        tf.summary.scalar(f"regret/{name}", read("network"))
        for layer, value in read("layers").items():
            tf.summary.scalar(f"layer_{name}/{layer}", value)
        for layer, values in read("units").items():
            values = keras.ops.convert_to_numpy(values)
            # A histogram of what is no number is an error; scalars show it.
            if np.isfinite(values).all():
                tf.summary.histogram(f"unit_{name}/{layer}", values)


def _readers(tracker):
    def average_regret(scope):
        cumulative = tracker.linear_regret(scope)
        return keras.tree.map_structure(
            lambda value: linear_regret.average(value, tracker.steps), cumulative
        )

    return {
        "average_linear_regret": average_regret,
        "optimum_lower_bound": tracker.optimum_lower_bound,
    }
