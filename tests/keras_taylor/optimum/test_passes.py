"""Tests of counting passes."""

import pytest

from keras_taylor.optimum import passes as passes_module
from keras_taylor.optimum.passes import OutOfPassesError, Passes


class Problem:
    """Counts what it is asked."""

    def value_and_gradient(self, v):
        return v, 2 * v

    def curvature(self, v, p):
        raise KeyboardInterrupt


def test_passes_are_counted_and_end():
    passes = Passes(Problem(), 2)
    assert passes.has_left(2)
    assert passes.value_and_gradient(3.0) == (3.0, 6.0)
    assert not passes.has_left(2)
    passes.value_and_gradient(3.0)
    with pytest.raises(OutOfPassesError):
        passes.value_and_gradient(3.0)
    assert passes.count == 2


def test_a_preconditioner_is_made_once_a_solve_takes_long(monkeypatch):
    monkeypatch.setattr(passes_module, "PATIENCE", 2)
    problem = Problem()
    passes = Passes(problem)
    assert Passes(problem).preconditioner() is None, "there is none to be made"
    problem.preconditioner = None
    problem.prepare = lambda: setattr(problem, "preconditioner", "made")
    passes.value_and_gradient(3.0)
    assert passes.preconditioner() is None
    passes.value_and_gradient(3.0)
    assert passes.preconditioner() == "made"
    assert passes.count == 3, "it takes a pass"
    assert Passes(problem).preconditioner() == "made", "the next solve has it"


def test_an_interrupt_ends_them_and_a_second_one_is_the_callers():
    passes = Passes(Problem())
    with pytest.raises(OutOfPassesError):
        passes.curvature(1.0, 1.0)
    assert passes.interrupted
    assert not passes.has_left(1)
    with pytest.raises(KeyboardInterrupt):
        passes.curvature(1.0, 1.0)
