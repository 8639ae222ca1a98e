"""The learning rate that advice is about: the largest one over the rounds tracked."""

import numpy as np

from keras_taylor import backend
from keras_taylor.optimizers.wrapper import wrapped

# A schedule is asked at so many rounds at most.
PLACES = 200


def peak_rate(optimizer, rounds):
    """Returns the largest learning rate over the last rounds, and whether a schedule set it.

    Args:
        optimizer: A Keras optimizer that may wrap others.
        rounds: How many rounds to look back.

    Returns:
        A number and a boolean. A rate that was assigned during training is the present one.

    Example:

    >>> schedule = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=100)
    >>> optimizer = keras.optimizers.SGD(schedule)
    >>> optimizer.build([keras.Variable([1.0])])
    >>> _ = optimizer.iterations.assign(50)
    >>> rate, is_scheduled = peak_rate(optimizer, rounds=50)
    >>> round(rate, 3), is_scheduled
    (0.1, True)
    """
    *_, innermost = wrapped(optimizer)
    schedule = backend.learning_rate_schedule(innermost)
    if schedule is None:
        return float(innermost.learning_rate), False
    end = int(innermost.iterations)
    places = np.unique(np.linspace(max(0, end - rounds), max(0, end - 1), PLACES).astype(int))
    return max(float(schedule(int(place))) for place in places), True
