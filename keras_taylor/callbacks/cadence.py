"""When a callback looks at a run: after each epoch, or after every so many rounds."""

import math
import numbers

import keras


class Cadence(keras.callbacks.Callback):
    """Base of callbacks that look at a run now and then; abstract. Subclasses define `take`.

    Args:
        every: `"epoch"`, or a number of rounds. With `steps_per_execution`, Keras stops between
            executions only, so the look is at the first stop after so many rounds. In the first
            epoch of data of unknown size, an execution that ends early counts as a whole one.

    Raises:
        ValueError: if `every` is neither.
    """

    def __init__(self, every):
        super().__init__()
        is_number = isinstance(every, numbers.Integral) and not isinstance(every, bool)
        if every != "epoch" and not (is_number and every > 0):
            raise ValueError(f"every must be 'epoch' or a positive number, received {every!r}")
        self.every, self.round, self._begun = every, 0, 0

    def take(self, logs=None):
        """Looks at the run as it is now.

        Args:
            logs: What Keras logged: running means over the present epoch.
        """
        raise NotImplementedError

    def on_train_batch_begin(self, batch, logs=None):
        self._begun = batch

    def on_train_batch_end(self, batch, logs=None):
        # The last execution of an epoch may end early, which Keras counts as whole.
        steps = (self.params or {}).get("steps") or math.inf
        before = self.round
        self.round += min(batch + 1, steps) - self._begun
        if self.every != "epoch" and self.round // self.every > before // self.every:
            self.take(logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.every == "epoch":
            self.take(logs)
