"""Parts that are solved for together: the units of a layer that share passes, others alone."""

import functools
import itertools

from keras_taylor.optimum.dense import dense_objective
from keras_taylor.optimum.gram import gram_objective
from keras_taylor.optimum.shared_units import shared_units
from keras_taylor.optimum.solver import Solver
from keras_taylor.weights.parts import Part


def groups(rounds, names):
    """Yields `SharedUnits` with the names of units that it solves for together.

    Parts that are solved for by themselves come with `None`, one by one.
    """
    parts = [Part(rounds.scopes, name) for name in names]
    for key, group in itertools.groupby(parts, lambda part: part.unit is not None and part.layer):
        group = list(group)
        shared = _shared(rounds, key) if key and len(group) > 1 else None
        names_of_group = [part.name for part in group]
        yield from [(shared, names_of_group)] if shared else [(None, [n]) for n in names_of_group]


def _shared(rounds, key):
    """Returns the `SharedUnits` of a layer, or `None` where there is none or a faster way."""
    unit = Part(rounds.scopes, f"unit:{key}/0")
    if rounds.loss.is_kinked or gram_objective(rounds, unit) or dense_objective(rounds, unit):
        return None
    return shared_units(rounds, key)


def solve_group(rounds, shared, names, solve, on_end=lambda: None):
    """Returns the results of a function of each part's `Solver`, for a group from `groups`.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        shared: The group's `SharedUnits`, or `None`.
        names: The group's parts.
        solve: The function.
        on_end: Called whenever a part is done.
    """
    if shared is not None:
        solvers = [Solver(rounds, name, shared.objective(name)) for name in names]
        return shared.run([functools.partial(solve, solver) for solver in solvers], on_end)
    found = []
    for name in names:
        found.append(solve(Solver(rounds, name)))
        on_end()
    return found
