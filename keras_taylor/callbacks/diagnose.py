"""A callback that says during training what to do about the learning rate."""

import tensorflow as tf

from keras_taylor.callbacks.cadence import Cadence
from keras_taylor.diagnosis.diagnosis import checked_tracker, diagnose
from keras_taylor.optimizers.regret_tracker import tracker_of


class Diagnose(Cadence):
    """Prints `keras_taylor.diagnose` of the run at the end of epochs, or every so many rounds.

    The model's optimizer has a `RegretTracker`; training is not changed. The advice is for the
    largest learning rate over the rounds tracked, whether a schedule or a callback sets it: rates
    are read at the ends of epochs and at each look. Tracked sums continue over several calls of
    `fit` and when a saved model is trained further; with another tracker, or after its
    `start_tracking`, rates and `latest` start again with them.

    Args:
        every: `"epoch"`, or k for a look after rounds k, 2k, 3k, ...
        log_dir: A directory for TensorBoard, where the table is shown as text; `None` for none.
        recorder: A `keras_taylor.callbacks.ActivationRecorder` of the same run, for dead units; it
            comes before this one in the list of callbacks.
        verbose: Whether to print.

    Attributes:
        latest: The latest `keras_taylor.Diagnosis` of these rounds, or `None`.

    Raises:
        ValueError: if `every` is neither `"epoch"` nor a positive integer; in `fit`, if the
            optimizer has no `RegretTracker`, or one that passes over rounds.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="a")])
    >>> model.compile(keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(0.1)), loss="mse")
    >>> advisor = Diagnose(verbose=False)
    >>> history = model.fit(np.eye(4), np.ones((4, 1)), verbose=0, callbacks=[advisor])
    >>> advisor.latest.network["advice"]
    'too few rounds to tell: 1 of the 100 that would do'
    """

    def __init__(self, every="epoch", log_dir=None, recorder=None, verbose=True):
        super().__init__(every)
        self._log_dir, self._recorder, self._verbose = log_dir, recorder, verbose
        self._writer, self._largest_rate, self.latest = None, 0.0, None
        self._rounds_of = None

    def on_train_begin(self, logs=None):
        if tracker_of(self.model.optimizer) is None:
            raise ValueError(
                f"{type(self).__name__} found no RegretTracker: compile the model with a "
                "keras_taylor.optimizers.RegretTracker around its optimizer"
            )
        checked_tracker(self.model)
        self._start_with_the_sums()
        if self._log_dir is not None and self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self._log_dir))

    def on_epoch_end(self, epoch, logs=None):
        self._see_rate()
        super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.flush()

    def take(self, logs=None):
        """Looks at the run: prints the diagnosis and writes it."""
        self._see_rate()
        plain = diagnose(self.model.optimizer, self._recorder)
        # A schedule's peak may lie between the rounds at which rates were read.
        rate = max(plain.learning_rate, self._largest_rate)
        self.latest = diagnose(self.model.optimizer, self._recorder, rate)
        if self._verbose:
            print(f"\n{self.latest}")
        if self._writer is not None:
            with self._writer.as_default(step=int(self.model.optimizer.iterations)):
                tf.summary.text("diagnosis", self.latest.to_markdown())

    def _start_with_the_sums(self):
        """Forgets the rates of rounds that are not in the tracker's sums."""
        tracker = tracker_of(self.model.optimizer)
        # The tracker itself is kept: the id of one that is gone may be that of another.
        found = tracker, tracker.start_count
        if self._rounds_of != found:
            self._rounds_of, self._largest_rate, self.latest = found, 0.0, None

    def _see_rate(self):
        self._start_with_the_sums()
        rate = float(self.model.optimizer.learning_rate)
        self._largest_rate = max(self._largest_rate, rate)
