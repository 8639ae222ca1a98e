"""Keras callbacks that all runs share: a progress bar, means of the logs, the end at divergence."""

import keras
import numpy as np
import tqdm

# The share of a run at its end that "final" losses and metrics are the means over.
LAST_SHARE = 0.1


class ProgressBar(keras.callbacks.Callback):
    """A bar over the rounds of the whole run, with the round's loss and metrics beside it."""

    def __init__(self, description, steps):
        super().__init__()
        self._bar = tqdm.tqdm(total=steps, desc=description, unit="round", dynamic_ncols=True)
        self._logs = {}

    def on_train_batch_end(self, batch, logs=None):
        self._logs = logs or {}
        # The bar redraws ten times a second at most; formatting each round would cost more.
        if self._bar.update():
            self._bar.set_postfix(_short(self._logs), refresh=False)

    def on_train_end(self, logs=None):
        self._bar.set_postfix(_short(self._logs))
        self.close()

    def close(self):
        """Ends the line of the bar, so that the message of an error has one of its own."""
        self._bar.close()


class MeanLogs(keras.callbacks.Callback):
    """The means of loss and metrics over the rounds after the burn-in."""

    def __init__(self, burn_in):
        super().__init__()
        self._burn_in, self._logs = burn_in, []

    def on_train_batch_end(self, batch, logs=None):
        if batch >= self._burn_in:
            self._logs.append({name: float(value) for name, value in (logs or {}).items()})

    def means(self, share=1.0):
        """Returns the mean of each over the last share of these rounds, at least one."""
        last = self._logs[-max(1, round(share * len(self._logs))) :]
        names = last[0] if last else ()
        return {name: float(np.mean([logs[name] for logs in last])) for name in names}


class DivergenceWatch(keras.callbacks.Callback):
    """The base of callbacks that end a run whose loss is not finite any more.

    A subclass calls `check_loss` with the losses that it reads. `diverged` says how the run ended.
    """

    def __init__(self):
        super().__init__()
        self.diverged = False

    def check_loss(self, loss):
        """Ends training if the loss is not finite."""
        if not np.isfinite(loss):
            self.diverged = True
            self.model.stop_training = True

    def check_weights(self, model):
        """Marks the run as diverged if a weight is not finite.

        To call after training: a rectifier may turn NaN into zero, so that the loss is finite.
        """
        self.diverged = self.diverged or not weights_are_finite(model)


def weights_are_finite(model):
    """Returns whether all weights of a model are finite."""
    return all(np.isfinite(weight).all() for weight in model.get_weights())


def _short(logs):
    shown = {name: value for name, value in logs.items() if not name.startswith("taylor_")}
    return {name: f"{float(value):.4g}" for name, value in shown.items()}
