"""When a callback looks at a run: after each epoch, or after a number of rounds."""

import math

import keras

from keras_taylor.weights.arguments import is_whole


class Cadence(keras.callbacks.Callback):
    """Base of callbacks that look at a run at intervals; abstract. Subclasses define `take`.

    Args:
        every: `"epoch"`, or k for a look after rounds k, 2k, 3k, ... With `steps_per_execution`,
            Keras only stops between executions, so the look comes at the next stop. In the first
            epoch over data of unknown size, an execution that ends early counts as a whole one.

    Attributes:
        every: The same.
        round: The number of rounds so far, over all calls of `fit`.

    Raises:
        ValueError: if `every` is neither `"epoch"` nor a positive integer.

    Example:

    >>> class Looks(Cadence):
    ...     def take(self, logs=None):
    ...         print("round", self.round)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", loss="mse")
    >>> options = {"batch_size": 1, "verbose": 0, "callbacks": [Looks(every=2)]}
    >>> history = model.fit(np.ones((5, 2)), np.ones((5, 1)), **options)
    round 2
    round 4
    """

    def __init__(self, every):
        super().__init__()
        is_epoch = isinstance(every, str) and every == "epoch"
        if not is_epoch and not (is_whole(every) and every > 0):
            raise ValueError(f"every must be 'epoch' or a positive integer, received {every!r}")
        self.every, self.round, self._batch = every, 0, 0

    def take(self, logs=None):
        """Looks at the run.

        Args:
            logs: The logs of Keras, `{name: value}`: means over the rounds of this epoch so far.
        """
        raise NotImplementedError

    def on_train_batch_begin(self, batch, logs=None):
        self._batch = batch

    def on_train_batch_end(self, batch, logs=None):
        # Keras counts the last execution of an epoch as whole, even if it ends early.
        steps = (self.params or {}).get("steps") or math.inf
        before = self.round
        self.round += min(batch + 1, steps) - self._batch
        if self.every != "epoch" and self.round // self.every > before // self.every:
            self.take(logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.every == "epoch":
            self.take(logs)
