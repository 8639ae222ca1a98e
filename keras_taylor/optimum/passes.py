"""Passes over the rounds of a run, counted and limited."""

import math

# Passes of a solve after which its end is not near.
PATIENCE = 8


class OutOfPassesError(Exception):
    """No pass is left, or the user has interrupted the solve."""


class Passes:
    """Counts the passes of a problem, and stops at the most that are allowed.

    A keyboard interrupt within a pass ends the solve as if no pass but one were left: that one
    evaluates what has been found.

    Args:
        problem: Has `value_and_gradient(v)` and `curvature(v, p)` of float64 vectors.
        most: The most passes, or `None`.
        watch: Function of the number of passes and the best `Interval` so far (or `None`), called
            after each.
    """

    def __init__(self, problem, most=None, watch=lambda count, best: None):
        self._problem, self._most, self._watch = problem, most, watch
        self.count, self.best, self.interrupted = 0, None, False
        # Passes that are kept for the end.
        self.reserved = 0

    def value_and_gradient(self, v):
        """Returns F and its gradient."""
        return self._run(self._problem.value_and_gradient, v)

    def curvature(self, v, p):
        """Returns the Hessian of F at v times p."""
        return self._run(self._problem.curvature, v, p)

    def true_value(self, v):
        """Returns the F that the problem's is an approximation of."""
        return self._run(self._problem.true_value, v)

    def preconditioner(self, spare=0):
        """Returns the problem's, a function of a residual and a shift, or `None`.

        It takes a pass to make, and is made once a solve has taken `PATIENCE` passes without, if
        one is left then to use it in, besides those to spare.
        """
        if not hasattr(self._problem, "prepare"):
            return None
        is_due = self._problem.preconditioner is None and self.count >= PATIENCE
        if is_due and self.has_left(spare + 2):
            self._run(self._problem.prepare)
        return self._problem.preconditioner

    def interrupt(self):
        """Ends the solve as an interrupt within a pass does; raises it again if it is a second."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def has_left(self, passes):
        """Tells whether so many passes are left."""
        return not self.interrupted and self._left() >= passes

    def _left(self):
        return math.inf if self._most is None else self._most - self.reserved - self.count

    def _run(self, function, *vectors):
        if self._left() < 1:
            raise OutOfPassesError
        try:
            result = function(*vectors)
        except KeyboardInterrupt as error:
            self.interrupt()
            raise OutOfPassesError from error
        self.count += 1
        self._watch(self.count, self.best)
        return result
