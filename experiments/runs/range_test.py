"""The learning-rate range test: rates that grow with each round, and its two usual readings.

Source: Smith, Cyclical learning rates for training neural networks, WACV 2017; the readings are
those of fastai's `lr_find` (steepest descent; the rate of the lowest loss over ten).
"""

import itertools

import keras
import numpy as np

from experiments.runs import comparison
from experiments.tasks import optimizers, tasks

ROUNDS, SMALLEST, LARGEST = 200, 1e-6, 10.0
# How much of the smoothed loss is kept each round, and the rise over the lowest that ends the test.
SMOOTHING, RISE = 0.98, 4.0
# Rounds at the beginning, whose smoothed loss rests on few.
LEFT_OUT = 10


def run(task_name, optimizer, seed, data_dir=None, rounds=ROUNDS):
    """Runs the test once; returns `{"steepest": rate, "minimum": rate}`."""
    task = tasks.get(task_name)
    keras.utils.set_random_seed(seed)
    model = task.build_model()
    growth = (LARGEST / SMALLEST) ** (1 / (rounds - 1))
    schedule = keras.optimizers.schedules.ExponentialDecay(SMALLEST, 1, growth)
    built = optimizers.OPTIMIZERS[optimizer].build(learning_rate=schedule)
    built.build(model.trainable_variables)
    model.compile(built, loss=task.build_loss())
    examples = comparison.examples_of(task_name, data_dir)
    batches = tasks.batches(task, examples, seed).repeat().take(rounds)
    losses = []
    for x, y in batches:
        losses.append(float(model.train_on_batch(x, y)))
        # Else Keras returns the mean over all batches so far.
        model.reset_metrics()
        if not np.isfinite(losses[-1]):
            break
    return read(SMALLEST * growth ** np.arange(len(losses)), losses)


def smoothed(losses):
    """Returns the exponential moving average of losses, with its start corrected."""
    averages = itertools.accumulate(
        losses, lambda mean, loss: SMOOTHING * mean + (1 - SMOOTHING) * loss, initial=0.0
    )
    counts = np.arange(1, len(losses) + 1)
    return np.array(list(averages)[1:]) / (1 - SMOOTHING**counts)


def read(rates, losses):
    """Returns the two readings of a test.

    Args:
        rates: The rates, growing by a constant factor.
        losses: The loss at each.

    Returns:
        `steepest`: the rate at which the smoothed loss fell fastest in the logarithm of the rate;
        `minimum`: a tenth of the rate at which it was lowest.
    """
    losses = np.asarray(losses, float)
    finite = np.isfinite(losses)
    rates, means = np.asarray(rates)[finite][LEFT_OUT:], smoothed(losses[finite])[LEFT_OUT:]
    rises = means > RISE * np.minimum.accumulate(means)
    end = int(np.argmax(rises)) if rises.any() else len(means)
    rates, means = rates[:end], means[:end]
    return {
        "steepest": float(rates[np.argmin(np.gradient(means))]),
        "minimum": float(rates[np.argmin(means)]) / 10,
    }
