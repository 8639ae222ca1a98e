"""Passes over the rounds of a run, counted and limited."""

import math

# Passes of a solve after which its end is not near.
PATIENCE = 8


class OutOfPassesError(Exception):
    """No pass is left, or the user has interrupted the solve."""


class Budget:
    """The passes that a solve may take.

    A keyboard interrupt within a pass ends the solve as if only one pass were left; that one
    evaluates what has been found.

    Args:
        most: The most passes, or `None`.
        watch: Function of the budget, called after each pass, for a progress bar.

    Attributes:
        taken: Passes taken so far.
        reserved: Passes that are kept for later.
        interrupted: Whether the user has interrupted the solve.
        best: The best certified `keras_taylor.optimum.ball.Interval` so far, or `None`.
        promised_gap: The gap that the quadratic model promises, once it is evaluated; NaN before.
    """

    def __init__(self, most=None, watch=lambda budget: None):
        self._most, self._watch = most, watch
        self.taken, self.reserved, self.interrupted = 0, 0, False
        self.best, self.promised_gap = None, math.nan

    def interrupt(self):
        """Ends the solve as an interrupt within a pass does; raises it again if it is a second."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def has_left(self, passes):
        """Tells whether at least this number of passes is left."""
        return not self.interrupted and self._left() >= passes

    def take(self, function, *vectors):
        """Runs a function that takes one pass.

        Raises:
            OutOfPassesError: if no pass is left, or the user interrupts it.
        """
        if self._left() < 1:
            raise OutOfPassesError
        try:
            result = function(*vectors)
        except KeyboardInterrupt as error:
            self.interrupt()
            raise OutOfPassesError from error
        self.taken += 1
        self._watch(self)
        return result

    def _left(self):
        return math.inf if self._most is None else self._most - self.reserved - self.taken


class Passes:
    """A smooth objective whose passes are taken from a budget.

    Args:
        objective: A `keras_taylor.optimum.objective.SmoothObjective`.
        budget: A `Budget`.
    """

    def __init__(self, objective, budget):
        self._objective, self.budget = objective, budget

    def value_and_gradient(self, point):
        """Returns F and its gradient."""
        return self.budget.take(self._objective.value_and_gradient, point)

    def curvature_product(self, point, vector):
        """Returns the Hessian of F at a point times a vector."""
        return self.budget.take(self._objective.curvature_product, point, vector)

    def sharpen(self):
        """Makes curvature products more precise; tells whether that was possible."""
        sharpened = self._objective.sharpened()
        self._objective = sharpened or self._objective
        return sharpened is not None

    def preconditioner(self, spare=0):
        """Returns the objective's preconditioner, or `None`.

        It is made once a solve has taken `PATIENCE` passes without, if a pass is left then to use
        it in, besides those to spare.
        """
        objective = self._objective
        is_due = objective.preconditioner is None and self.budget.taken >= PATIENCE
        if objective.can_prepare and is_due and self.budget.has_left(spare + 2):
            self.budget.take(objective.prepare)
        return objective.preconditioner
