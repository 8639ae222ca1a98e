"""Tests of counting passes."""

import numpy as np
import pytest
from objectives import Squares

from keras_taylor.optimum import passes as passes_module
from keras_taylor.optimum.passes import Budget, OutOfPassesError, Passes


class Interrupted(Squares):
    def curvature_product(self, point, vector):
        raise KeyboardInterrupt


class Prepared(Squares):
    can_prepare = True

    def prepare(self):
        self.preconditioner = "made"


def _passes(kind=Squares, most=None):
    return Passes(kind(np.eye(2), np.ones(2)), Budget(most))


def test_passes_are_counted_and_end():
    passes = _passes(most=2)
    budget, point = passes.budget, np.zeros(2)
    assert budget.has_left(2)
    assert passes.value_and_gradient(point)[0] == 1.0
    assert not budget.has_left(2)
    passes.value_and_gradient(point)
    with pytest.raises(OutOfPassesError):
        passes.value_and_gradient(point)
    assert budget.taken == 2


def test_reserved_passes_are_left_for_later():
    budget = Budget(3)
    budget.reserved = 1
    assert budget.has_left(2)
    assert not budget.has_left(3)


def test_a_preconditioner_is_made_once_a_solve_takes_long(monkeypatch):
    monkeypatch.setattr(passes_module, "PATIENCE", 2)
    assert _passes().preconditioner() is None, "there is none to be made"
    passes, point = _passes(Prepared), np.zeros(2)
    passes.value_and_gradient(point)
    assert passes.preconditioner() is None
    passes.value_and_gradient(point)
    assert passes.preconditioner() == "made"
    assert passes.budget.taken == 3, "it takes a pass"
    again = Passes(passes._objective, Budget())
    assert again.preconditioner() == "made", "the next solve has it"


def test_an_interrupt_ends_them_and_a_second_one_is_the_callers():
    passes, point = _passes(Interrupted), np.zeros(2)
    with pytest.raises(OutOfPassesError):
        passes.curvature_product(point, point)
    assert passes.budget.interrupted
    assert not passes.budget.has_left(1)
    with pytest.raises(KeyboardInterrupt):
        passes.curvature_product(point, point)
