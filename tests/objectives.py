"""Objectives of matrices for tests of solvers, in NumPy, and their minima by a general solver."""

import numpy as np
from scipy import optimize

from keras_taylor.optimum import ball
from keras_taylor.optimum.objective import SmoothObjective
from keras_taylor.optimum.passes import Budget, Passes


class Squares(SmoothObjective):
    """Mean of squared residuals of a linear map."""

    is_quadratic = True

    def __init__(self, matrix, targets):
        self.matrix, self.targets = matrix, targets

    def over_first(self, horizon):
        return type(self)(self.matrix[:horizon], self.targets[:horizon])

    def minimize(self, budget, center, radii, tolerance, warm_start):
        passes = Passes(self, budget)
        return ball.minimize(passes, center, radii, tolerance, self.is_quadratic, warm_start)

    def losses(self, point):
        return (self.matrix @ point - self.targets) ** 2

    def value_and_gradient(self, point):
        error = self.matrix @ point - self.targets
        return error @ error / len(error), 2 * self.matrix.T @ error / len(error)

    def curvature_product(self, point, vector):
        return 2 * self.matrix.T @ (self.matrix @ vector) / len(self.targets)


class Logistic(Squares):
    """Mean of logistic losses of a linear map."""

    is_quadratic = False

    def value_and_gradient(self, point):
        f, labels = self.matrix @ point, self.targets > 0
        error = 1 / (1 + np.exp(-f)) - labels
        return np.mean(np.logaddexp(0, f) - labels * f), self.matrix.T @ error / len(f)

    def curvature_product(self, point, vector):
        q = 1 / (1 + np.exp(-self.matrix @ point))
        return self.matrix.T @ (q * (1 - q) * (self.matrix @ vector)) / len(q)


def solved(objective, center, radii, tolerance, most=None, warm_start=None):
    """Returns the intervals of an objective over balls, and the budget that was spent."""
    budget = Budget(most)
    point = center if warm_start is None else warm_start
    return objective.minimize(budget, center, radii, tolerance, point), budget


def minimum_in_ball(problem, center, radius):
    """Returns the minimum of an objective over a ball by SciPy's general solver."""
    found = optimize.minimize(
        problem.value_and_gradient,
        center,
        jac=True,
        method="SLSQP",
        constraints={
            "type": "ineq",
            "fun": lambda v: radius**2 - (v - center) @ (v - center),
            "jac": lambda v: -2 * (v - center),
        },
        options={"maxiter": 2000, "ftol": 1e-14},
    )
    return found.fun
