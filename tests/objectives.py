"""Objectives of matrices that answer a solver's requests, in NumPy, and reference minima."""

import dataclasses

import numpy as np
from scipy import optimize, special

from keras_taylor.optimum import driver
from keras_taylor.optimum.certificate import Tolerance
from keras_taylor.optimum.requests import Budget, Evaluate, Extend, Multiply, Prepare, Pull
from keras_taylor.optimum.solver import Problem, Solver


def squares(outputs, targets):
    """Mean of squares: value, slopes and Hessians by example."""
    error = outputs - targets
    curvature = np.full((len(error), 1, 1), 2.0)
    return np.mean(error**2), 2 * error / len(error), curvature / len(error)


def logistic(outputs, targets):
    labels, p = targets > 0, special.expit(outputs)
    value = np.mean(np.logaddexp(0, outputs) - labels * outputs)
    return value, (p - labels) / len(p), (p * (1 - p))[:, :, None] / len(p)


def softmax(outputs, labels):
    one_hot, p = np.eye(outputs.shape[1])[labels], special.softmax(outputs, 1)
    value = np.mean(special.logsumexp(outputs, 1) - np.sum(one_hot * outputs, 1))
    curvature = p[:, :, None] * (np.eye(p.shape[1]) - p[:, None, :])
    return value, (p - one_hot) / len(p), curvature / len(p)


@dataclasses.dataclass
class MatrixObjective:
    """`F(V) = f(J V)` for a matrix J `(examples, outputs, size)`; has the driver's `answers`.

    `noise` is the relative error of what only the search uses; `interrupted_at` numbers requests
    at which Ctrl-C arrives; `preconditioner` answers `Prepare`.
    """

    jacobian: np.ndarray
    targets: np.ndarray
    loss: object
    noise: float = 0.0
    interrupted_at: tuple = ()
    preconditioner: object = None

    def __post_init__(self):
        self.seen, self.images, self.center = [], [], None

    @property
    def is_quadratic(self):
        return self.loss is squares

    def value_and_gradient(self, point):
        value, slopes, _ = self.loss(self.jacobian @ point, self.targets)
        return float(value), np.tensordot(slopes, self.jacobian, 2)

    def product(self, point, vector):
        _, _, curvature = self.loss(self.jacobian @ point, self.targets)
        curved = np.einsum("nij,nj->ni", curvature, self.jacobian @ vector)
        return np.tensordot(curved, self.jacobian, 2)

    def answers(self, asked):
        return {place: self._answer(request) for place, request in asked.items()}

    def _answer(self, request):
        self.seen.append(request)
        if len(self.seen) in self.interrupted_at:
            raise KeyboardInterrupt
        if isinstance(request, Evaluate):
            return self.value_and_gradient(request.point)
        if isinstance(request, Multiply):
            found = self.product(request.point, request.vector)
            return found if request.precise else self._rough(found)
        if isinstance(request, Prepare):
            return self.preconditioner
        if isinstance(request, Extend):
            return self.images.append(self.jacobian @ request.vector)
        outputs = self.jacobian @ self.center
        outputs = outputs + sum(z * image for z, image in zip(request.z, self.images, strict=False))
        value, slopes, curvature = self.loss(outputs, self.targets)
        if isinstance(request, Pull):
            return float(value), self._rough(np.tensordot(slopes, self.jacobian, 2))
        images = np.array(self.images[: len(request.z)])
        curved = np.einsum("mni,nij->mnj", images, curvature)
        hessian = np.tensordot(curved, images, ((1, 2),) * 2)
        return float(value), np.tensordot(images, slopes, 2), hessian

    def _rough(self, vector):
        if not self.noise:
            return vector
        generator = np.random.default_rng(len(self.seen))
        error = generator.normal(size=vector.shape) * np.linalg.norm(vector)
        return vector + self.noise * error / np.sqrt(vector.size)


def solved(
    objective, center, radii, rtol, most=None, start=None, keeps_images=False, least=-np.inf
):
    """Returns the intervals of an objective over balls, and the budget that was spent."""
    objective.seen, objective.images, objective.center = [], [], center
    problem = Problem(
        center=center,
        is_quadratic=objective.is_quadratic,
        keeps_images=keeps_images,
        can_prepare=objective.preconditioner is not None,
        can_be_precise=bool(objective.noise),
        least=least,
    )
    budget = Budget(most)
    start = center if start is None else start
    solver = Solver(problem, Tolerance(rtol), budget, start, set(radii))
    driver.run(objective, [driver.Solve(radii, budget, solver)])
    return [solver.results[radius] for radius in radii], budget


def solve_part(rounds, name, radii, rtol, max_passes=None):
    """Returns the optima of one part of some rounds, and its `Objective`."""
    (objective,) = driver.objectives(rounds, [name])
    ((*found,),) = driver.solve(objective, [radii], Tolerance(rtol), max_passes)
    return [optimum for optimum, _ in found], objective


def random_objective(loss, seed, scale=1.0, **options):
    """Returns a random objective with one of the losses, a centre and a radius."""
    generator = np.random.default_rng(seed)
    size, examples = generator.integers(2, 30), generator.integers(31, 60)
    outputs = 3 if loss is softmax else 1
    jacobian = scale * generator.normal(size=(examples, outputs, size))
    targets = generator.integers(0, 3, examples)
    if loss is not softmax:
        targets = generator.normal(size=(examples, 1))
    objective = MatrixObjective(jacobian, targets, loss, **options)
    return objective, generator.normal(size=size), 10.0 ** generator.uniform(-2, 0.5)


def minimum_in_ball(objective, center, radius):
    """Returns the minimum of an objective over a ball by SciPy's general solver."""
    found = optimize.minimize(
        objective.value_and_gradient,
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
