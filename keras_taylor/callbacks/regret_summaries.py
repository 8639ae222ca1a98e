"""A callback that shows regret and a bound of the optimum in TensorBoard."""

import keras
import numpy as np
import tensorflow as tf

from keras_taylor.callbacks.cadence import Cadence
from keras_taylor.models import TaylorModel
from keras_taylor.optimizers.regret_tracker import tracker_of
from keras_taylor.tracking import linear_regret


class RegretSummaries(Cadence):
    """Writes regret, a bound of the optimum and the loss for TensorBoard while a model trains.

    From a `RegretTracker` in the optimizer come, over the rounds since tracking started, averages
    in units of the loss, so that they compare with it: `average_linear_regret` (an upper bound of
    regret), `average_guarantee` and `optimum_lower_bound`; and without a unit `relative_regret` and
    `step_ratio`. Each is written as

    - a scalar of the network, `regret/<name>`, beside `regret/average_loss`;
    - a scalar of each layer, `layer_<name>/<layer>`;
    - a histogram over the units of each layer, `unit_<name>/<layer>`.

    From the logs come averages over the rounds of the epoch so far: the scalar `epoch/loss` and,
    for a `TaylorModel`, `epoch/taylor_loss` and `epoch/taylor_regret`, whose sum is the loss.

    Histograms leave out values that are not finite. The horizontal axis is the number of
    updates of the optimizer, which continues when a saved model is trained further. Give each run
    of a sweep its own directory. For a table of hyperparameters, use the callback
    `hparams.KerasCallback` of `tensorboard.plugins.hparams.api` as well.

    Args:
        log_dir: The directory to write to.
        every: `"epoch"`, or k for a look after rounds k, 2k, 3k, ... Each look copies five
            numbers for each unit from the device.

    Raises:
        ValueError: if `every` is neither `"epoch"` nor a positive integer; in `fit`, if the model
            is not a `TaylorModel` and its optimizer has no `RegretTracker`.

    Example:

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="a")])
    >>> model.compile(keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(0.1)), loss="mse")
    >>> summaries = RegretSummaries(tempfile.mkdtemp())  # then: tensorboard --logdir=...
    >>> history = model.fit(np.eye(4), np.ones((4, 1)), verbose=0, callbacks=[summaries])

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; linear
    regret is a reconstruction.
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
    """Writes a tracker's averages to the default summary writer of TensorFlow, as one record.

    The record is made on the host: `tf.summary.histogram` runs a hundred small operations.

    Args:
        tracker: A built `RegretTracker` with at least one round.
    """
    # Not every TensorFlow brings TensorBoard, which only this needs.
    from tensorboard.plugins.histogram.summary_v2 import histogram_pb
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb

    values = [scalar_pb("regret/average_loss", np.asarray(tracker.average_loss))]
    for name, read in _readers(tracker).items():
        values.append(scalar_pb(f"regret/{name}", np.asarray(read("network"))))
        for layer, value in read("layers").items():
            values.append(scalar_pb(f"layer_{name}/{layer}", np.asarray(value)))
        for layer, units in read("units").items():
            units = np.asarray(units)
            # TensorBoard has no histogram with NaN, as of units that did not move.
            if np.isfinite(units).any():
                values.append(histogram_pb(f"unit_{name}/{layer}", units[np.isfinite(units)]))
    record = values[0]
    for other in values[1:]:
        record.MergeFrom(other)
    tf.summary.experimental.write_raw_pb(record.SerializeToString())


def _readers(tracker):
    def averaged(read):
        def average(scope):
            return keras.tree.map_structure(
                lambda value: linear_regret.average(value, tracker.steps), read(scope)
            )

        return average

    readers = {
        "average_linear_regret": averaged(tracker.linear_regret),
        "average_guarantee": averaged(tracker.guarantee),
        "relative_regret": tracker.relative_regret,
        "optimum_lower_bound": tracker.optimum_lower_bound,
    }
    return readers | ({"step_ratio": tracker.step_ratio} if tracker.track_step_ratio else {})
