"""The comparators that a `TaylorModel` holds its iterates against, and what they remember."""

import keras
import numpy as np
from keras import ops

from keras_taylor.weights.arguments import checked_arrays

KINDS = ("initial", "average")


class Initial:
    """The weights `W^1` of the first round."""

    def __init__(self, variables):
        self.variables = [_like(variable, "initial") for variable in variables]

    def begin(self, variables):
        """Takes the present weights, before the first round."""
        for kept, variable in zip(self.variables, variables, strict=True):
            kept.assign(variable)

    def at(self, weights, rounds):
        """Returns the comparator, the same for each round."""
        del weights, rounds
        return [ops.convert_to_tensor(kept) for kept in self.variables]

    def config(self):
        """Returns what `made` makes the comparator from."""
        return "initial"


class Average:
    """The mean of the iterates `W^1 .. W^n`, this round's included."""

    def __init__(self, variables):
        # Float64: at a million rounds, the share of one is lost in float32.
        self.variables = [_like(variable, "average", "float64") for variable in variables]

    def begin(self, variables):
        """Does nothing: the mean starts with the first round."""

    def at(self, weights, rounds):
        """Returns the comparator of a round, given its weights and the number of rounds before."""
        means = []
        for mean, weight in zip(self.variables, weights, strict=True):
            share = ops.cast(rounds + 1, mean.dtype)
            mean.assign_add((ops.cast(weight, mean.dtype) - mean) / share)
            means.append(ops.cast(mean, weight.dtype))
        return means

    def config(self):
        """Returns what `made` makes the comparator from."""
        return "average"


class Given:
    """Arrays that stay as they are."""

    def __init__(self, variables, arrays):
        self.variables = [_like(variable, "given") for variable in variables]
        if arrays is not None:
            checked = checked_arrays("comparator", arrays, variables)
            for kept, array in zip(self.variables, checked, strict=True):
                kept.assign(array)
        self.is_loaded = arrays is not None

    def begin(self, variables):
        """Checks that the arrays are there."""
        if not self.is_loaded:
            raise ValueError(
                "the comparator's arrays are not loaded: they are saved with the model's weights, "
                "not in its config. Load the whole model, or make a new one with the arrays"
            )

    def at(self, weights, rounds):
        """Returns the comparator, the same for each round."""
        del weights, rounds
        return [ops.convert_to_tensor(kept) for kept in self.variables]

    def config(self):
        """Returns nothing to make it from: the arrays are saved with the weights."""


def made(comparator, variables):
    """Returns comparators by name.

    Args:
        comparator: `"initial"`, `"average"`, arrays shaped like the variables, or several of these
            by name in a dictionary. `None` stands for arrays that are loaded later.
        variables: The trainable variables of the model.

    Raises:
        ValueError: if it is none of these.
    """
    named = comparator if isinstance(comparator, dict) else {"": comparator}
    if not named:
        raise ValueError("comparator is an empty dictionary: expected one comparator or more")
    return {name: _made(value, variables) for name, value in named.items()}


def _made(value, variables):
    if isinstance(value, str):
        if value not in KINDS:
            raise ValueError(
                f"unknown comparator {value!r}: expected one of {', '.join(map(repr, KINDS))}, a "
                "list of arrays shaped like the model's trainable variables, or a dictionary of "
                "these"
            )
        return {"initial": Initial, "average": Average}[value](variables)
    return Given(variables, value)


def _like(variable, name, dtype=None):
    # A variable of no layer: the weights of the model stay what they are.
    return keras.Variable(
        np.zeros(tuple(variable.shape)), dtype=dtype or variable.dtype, trainable=False, name=name
    )
