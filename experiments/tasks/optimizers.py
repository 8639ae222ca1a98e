"""The table of optimizers, and how a name on the command line becomes one."""

import dataclasses
import functools
from collections.abc import Callable

import keras

import keras_taylor as kt
from experiments.tasks.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Entry:
    """How an optimizer is made, and its default learning rate.

    The rates come from trials on the tasks. All other arguments have Keras' defaults.
    """

    build: Callable
    learning_rate: float


def _sgd_rms_normalized(learning_rate):
    # By unit; by single weights it would be RMSprop.
    return kt.optimizers.RMSNormalized(keras.optimizers.SGD(learning_rate), granularity="unit")


OPTIMIZERS = {
    "sgd": Entry(keras.optimizers.SGD, 0.01),
    "momentum": Entry(functools.partial(keras.optimizers.SGD, momentum=0.9), 0.01),
    "rmsprop": Entry(keras.optimizers.RMSprop, 0.001),
    "adam": Entry(keras.optimizers.Adam, 0.001),
    "adamw": Entry(keras.optimizers.AdamW, 0.001),
    "adagrad": Entry(keras.optimizers.Adagrad, 0.01),
    "sgd_rms_normalized": Entry(_sgd_rms_normalized, 0.001),
    "lion": Entry(keras.optimizers.Lion, 0.0001),
}


@dataclasses.dataclass(frozen=True)
class Choice:
    """An optimizer of the table with its learning rate; `label` is its shortest spelling."""

    name: str
    learning_rate: float

    @property
    def label(self):
        """The name, with the learning rate behind a colon where it is not the table's."""
        if self.learning_rate == OPTIMIZERS[self.name].learning_rate:
            return self.name
        return f"{self.name}:{self.learning_rate}"

    def build(self):
        """Returns a new Keras optimizer."""
        return OPTIMIZERS[self.name].build(learning_rate=self.learning_rate)


def parse(text):
    """Returns the `Choice` for `"name"` or `"name:learning_rate"`.

    Raises:
        UsageError: if the name is unknown, or the rate is not a positive number.

    Example:

    >>> parse("sgd:0.1")
    Choice(name='sgd', learning_rate=0.1)
    """
    name, colon, rate = text.strip().partition(":")
    if name not in OPTIMIZERS:
        raise UsageError(f"unknown optimizer {name!r}: expected one of {', '.join(OPTIMIZERS)}")
    return Choice(name, _rate(rate, text) if colon else OPTIMIZERS[name].learning_rate)


def parse_all(texts):
    """Returns the choices for a list of names, each of them once.

    Raises:
        UsageError: if the list is empty or names the same optimizer and rate twice.
    """
    choices = [parse(text) for text in texts]
    if not choices:
        raise UsageError("no optimizer given: expected a list such as --optimizers=sgd,adam:0.01")
    labels = [choice.label for choice in choices]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise UsageError(f"optimizer {repeated[0]!r} is listed twice: list each once")
    return choices


def _rate(text, whole):
    try:
        rate = float(text)
    except ValueError:
        rate = float("nan")
    if not 0 < rate < float("inf"):
        raise UsageError(
            f"learning rate {text!r} in {whole!r}: expected a positive number, as in sgd:0.1"
        )
    return rate
