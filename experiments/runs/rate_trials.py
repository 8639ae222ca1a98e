"""Training at many rates with one compiled model, and what a diagnosis says after an eighth."""

import math

import keras
import numpy as np

import keras_taylor as kt
from experiments.runs import callbacks, comparison
from experiments.tasks import optimizers, tasks

# A run is cut into pieces; the diagnosis comes after an eighth, the final loss from the last tenth.
PIECES, EIGHTH, LAST_TENTH = 40, 5, 4
# Rounds within a piece that run without a stop.
LARGEST_EXECUTION = 25


class Trainer:
    """Trains a task with an optimizer at any rate and seed; the model is compiled once.

    Every run starts from what a new model and a new optimizer would have.

    Args:
        task: Name of the task.
        optimizer: Name of the optimizer.
        steps: Rounds of a run, rounded down to a multiple of 40.
        data_dir: Directory of prepared datasets, or `None`.
    """

    def __init__(self, task, optimizer, steps, data_dir=None):
        self._task = tasks.get(task)
        self._examples = comparison.examples_of(task, data_dir)
        self._piece = max(1, steps // PIECES)
        entry = optimizers.OPTIMIZERS[optimizer]
        self._model = self._task.build_model()
        self._tracker = kt.optimizers.RegretTracker(entry.build(learning_rate=entry.learning_rate))
        self._model.compile(
            self._tracker, loss=self._task.build_loss(), steps_per_execution=divisor(self._piece)
        )
        self._tracker.build(self._model.trainable_variables)
        self._first = [np.array(variable) for variable in self._tracker.variables]

    def train(self, rate, seed, whole=True):
        """Trains at a rate, a whole run or an eighth of it; divergence is a result too.

        Returns:
            A dictionary: `learning_rate`, `seed`, `diverged`, `final_loss` (the mean over the last
            tenth; `None` for an eighth or if it diverged), and of the diagnosis after an eighth
            `verdict`, `factor`, `suggested_rate`, `gradient_agreement`, `step_ratio`,
            `relative_regret`.
        """
        self._start(rate, seed)
        watch = _Watch(rate)
        batches = tasks.batches(self._task, self._examples, seed).repeat()
        self._model.fit(
            batches,
            steps_per_epoch=self._piece,
            epochs=PIECES if whole else EIGHTH,
            shuffle=False,
            verbose=0,
            callbacks=[watch],
        )
        watch.check_weights(self._model)
        final = None
        if whole and not watch.diverged:
            final = float(np.mean(watch.losses[-LAST_TENTH:]))
        names = ("verdict", "factor", "suggested_rate", "gradient_agreement", "step_ratio")
        found = {name: watch.row[name] for name in (*names, "relative_regret")}
        return {
            "learning_rate": rate,
            "seed": seed,
            "diverged": watch.diverged,
            "final_loss": final,
            **found,
        }

    def _start(self, rate, seed):
        keras.utils.set_random_seed(seed)
        self._model.set_weights(self._task.build_model().get_weights())
        for variable, value in zip(self._tracker.variables, self._first, strict=True):
            variable.assign(value)
        self._tracker.learning_rate = rate
        # A run that diverged leaves it set.
        self._model.stop_training = False


class _Watch(callbacks.DivergenceWatch):
    """Keeps the mean loss of each piece, and the network's row of the diagnosis."""

    def __init__(self, rate):
        super().__init__()
        self._rate, self.losses, self.row = rate, [], None

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["loss"])
        if epoch + 1 == EIGHTH:
            self.row = kt.diagnose(self.model, learning_rate=self._rate).network
        # A run that diverged earlier goes on to its diagnosis, as a user's would.
        if epoch + 1 >= EIGHTH:
            self.check_loss(sum(self.losses))


def divisor(piece):
    """Returns the largest number of rounds up to 25 that divides a piece."""
    return max(n for n in range(1, LARGEST_EXECUTION + 1) if piece % n == 0)


def follow(trainer, begin, suggestions=2):
    """Follows the advice from a run's diagnosis on; returns the rates taken one after the other.

    Args:
        trainer: A `Trainer`, or what has its `train`.
        begin: A run, as `train` returns it.
        suggestions: Most suggestions to follow.

    Returns:
        The rates after the first, none if the step fits or there is no advice.
    """
    rates, run = [], begin
    for remaining in reversed(range(suggestions)):
        if math.isnan(run["factor"]) or run["verdict"] == "fits":
            break
        rates.append(run["suggested_rate"])
        if remaining:
            run = trainer.train(rates[-1], run["seed"], whole=False)
    return rates
