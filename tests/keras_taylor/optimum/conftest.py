"""Solves of few and small rounds, whose graphs take longer to make than to run."""

import functools

import pytest

from keras_taylor.optimum import decomposition, driver, taylor_optimum


@pytest.fixture(scope="module")
def traced_once():
    """Within a module, the rounds of a recording and the objective of a part are made once.

    Each solve starts without a preconditioner, as one with an objective of its own does.
    """
    made, build = {}, driver.Objective

    def objective(rounds, parts, features=None):
        key = rounds, tuple(part.name for part in parts), features
        if key not in made:
            made[key] = build(rounds, parts, features)
        made[key].forget()
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        rounds_of = functools.cache(taylor_optimum.rounds_of)
        patch.setattr(taylor_optimum, "rounds_of", rounds_of)
        patch.setattr(decomposition, "rounds_of", rounds_of)
        patch.setattr(driver, "Objective", objective)
        yield
