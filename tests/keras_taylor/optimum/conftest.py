"""Solves of few and small rounds, whose graphs take longer to make than to run."""

import copy
import functools

import pytest

from keras_taylor.optimum import decomposition, solve, solver
from keras_taylor.optimum.streamed import StreamedObjective


@pytest.fixture(scope="module")
def traced_once():
    """Within a module, the rounds of a recording and the objective of a part are made once.

    Each solve starts without a preconditioner, as one with an objective of its own does.
    """
    made, objective_of = {}, solver.objective_of

    def objective(rounds, part):
        key = rounds, part.name
        if key not in made:
            made[key] = objective_of(rounds, part)
        found = copy.copy(made[key])
        if isinstance(found, StreamedObjective):
            found._prepared = {}
        return found

    with pytest.MonkeyPatch.context() as patch:
        rounds_of = functools.cache(solve.rounds_of)
        patch.setattr(solve, "rounds_of", rounds_of)
        patch.setattr(decomposition, "rounds_of", rounds_of)
        patch.setattr(solver, "objective_of", objective)
        yield
