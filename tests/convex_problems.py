"""Random convex problems over a Euclidean ball, by matrices: `F(V) = (1/n) sum_i phi_i(A_i V + s)`.

Each example i has k outputs. `convex_references` brackets their minima.
"""

import dataclasses

import numpy as np
from scipy import linalg

MOST_WEIGHTS, MOST_EXAMPLES = 40, 60


def _mean(terms):
    """Returns the mean over examples of terms `(examples, ...)`, summed over the rest."""
    return terms.sum() / len(terms)


def _softmax(outputs):
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _sigmoid(outputs):
    return np.exp(-np.logaddexp(0, -outputs))


def _multinomial(f, y):
    most = f.max(axis=1, keepdims=True)
    return np.log(np.exp(f - most).sum(axis=1, keepdims=True)) + ((most - f) * y).sum(1)[:, None]


def _multinomial_curvature(f, y):
    p = _softmax(f)
    return p[:, :, None] * np.eye(p.shape[1]) - p[:, :, None] * p[:, None, :]


def _diagonal(curvature):
    """Returns blocks from the second derivatives of a loss that is a sum over outputs."""
    return lambda f, y: curvature(f, y)[:, :, None] * np.eye(f.shape[1])


@dataclasses.dataclass(frozen=True)
class Loss:
    """The loss of each output, its slope, and the blocks of its second derivatives.

    Functions of outputs and targets `(examples, outputs)`, in the precision of these; without
    blocks where it is not smooth.
    """

    losses: object
    slopes: object
    blocks: object = None


LOSSES = {
    "quadratic": Loss(
        lambda f, y: (f - y) ** 2,
        lambda f, y: 2 * (f - y),
        _diagonal(lambda f, y: 2 + 0 * f),
    ),
    "logistic": Loss(
        # log(1 + e^f) - y f, without a difference of large numbers for labels 0 and 1.
        lambda f, y: np.logaddexp(0, (1 - 2 * y) * f),
        lambda f, y: (1 - 2 * y) * _sigmoid((1 - 2 * y) * f),
        _diagonal(lambda f, y: _sigmoid(f) * _sigmoid(-f)),
    ),
    "multinomial": Loss(_multinomial, lambda f, y: _softmax(f) - y, _multinomial_curvature),
    "huber": Loss(
        lambda f, y: np.where(abs(f - y) <= 1, (f - y) ** 2 / 2, abs(f - y) - 0.5),
        lambda f, y: np.clip(f - y, -1, 1),
        _diagonal(lambda f, y: (abs(f - y) <= 1) + 0 * f),
    ),
    "hinge": Loss(lambda f, y: np.maximum(1 - y * f, 0), lambda f, y: -y * (y * f < 1)),
    "absolute": Loss(lambda f, y: abs(f - y), lambda f, y: np.sign(f - y)),
}
KINDS = tuple(LOSSES)
# What is special about a problem; most have nothing.
SPECIALS = (
    "no radius",
    "one example",
    "identical rows",
    "zero matrix",
    "zero columns",
    "reachable targets",
)


@dataclasses.dataclass(frozen=True)
class Problem:
    """A convex function of weights V over the ball of a radius about a center.

    Args:
        name: A name that is unique among problems of the same seed.
        kind: One of `KINDS`.
        matrix: A, `(examples * outputs, size)`.
        shift: s, the outputs at V = 0, `(examples, outputs)`.
        targets: Targets or labels, `(examples, outputs)`.
        center: c, `(size,)`.
        radius: R.
    """

    name: str
    kind: str
    matrix: np.ndarray
    shift: np.ndarray
    targets: np.ndarray
    center: np.ndarray
    radius: float

    @property
    def is_quadratic(self):
        return self.kind == "quadratic"

    @property
    def is_smooth(self):
        return self.loss.blocks is not None

    @property
    def loss(self):
        return LOSSES[self.kind]

    def outputs(self, point):
        """Returns `A V + s`, `(examples, outputs)`."""
        return (self.matrix @ point).reshape(self.shift.shape) + self.shift

    def phi(self, outputs):
        """Returns F as a function of the outputs."""
        return _mean(self.loss.losses(outputs, self.targets))

    def slopes(self, outputs):
        """Returns the gradient of `phi`, or a subgradient, like the outputs."""
        return self.loss.slopes(outputs, self.targets) / len(outputs)

    def curvature_blocks(self, outputs):
        """Returns the Hessian of `phi` by example, `(examples, outputs, outputs)`."""
        return self.loss.blocks(outputs, self.targets) / len(outputs)

    def value(self, point):
        """Returns F."""
        return self.phi(self.outputs(point))

    def gradient(self, point):
        """Returns the gradient of F, or a subgradient."""
        return self.matrix.T @ self.slopes(self.outputs(point)).ravel()

    def hessian_product(self, point, vector):
        """Returns the Hessian of F times a vector; `None` for a loss that is not smooth."""
        if not self.is_smooth:
            return None
        moved = (self.matrix @ vector).reshape(self.shift.shape)
        blocks = self.curvature_blocks(self.outputs(point))
        return self.matrix.T @ np.einsum("nij,nj->ni", blocks, moved).ravel()

    def value_longdouble(self, point):
        """Returns F in extended precision."""
        return self.widened().value(np.asarray(point, np.longdouble))

    def widened(self):
        """Returns the same problem in extended precision."""
        names = ("matrix", "shift", "targets", "center")
        arrays = {name: np.asarray(getattr(self, name), np.longdouble) for name in names}
        return dataclasses.replace(self, **arrays, radius=np.longdouble(self.radius))


def problems(count, seed=0):
    """Yields random problems, the same for the same seed.

    Kinds take turns. A third of the problems are special: their names say how.
    """
    for number in range(count):
        generator = np.random.default_rng([seed, number])
        special = generator.choice(SPECIALS) if generator.random() < 1 / 3 else ""
        yield _problem(generator, KINDS[number % len(KINDS)], special, number)


def _problem(generator, kind, special, number):
    size = int(generator.integers(1, MOST_WEIGHTS + 1))
    examples = 1 if special == "one example" else int(generator.integers(1, MOST_EXAMPLES + 1))
    outputs = {"multinomial": 3, "logistic": 1, "hinge": 1}.get(kind, generator.integers(1, 3))
    matrix = _matrix(generator, examples * outputs, size)
    if special == "identical rows":
        matrix[:] = matrix[0]
    if special == "zero matrix":
        matrix[:] = 0
    if special == "zero columns":
        matrix[:, generator.random(size) < 0.5] = 0
    shift, center = generator.normal(size=(examples, outputs)), generator.normal(size=size)
    radius = 0.0 if special == "no radius" else 10.0 ** generator.uniform(-2, 3)
    # Targets of a point; those of reachable ones lie within the ball.
    move = generator.normal(size=size)
    move *= radius * generator.random() / np.linalg.norm(move)
    reached = (matrix @ (center + move)).reshape(shift.shape) + shift
    noise = 0 if special == "reachable targets" else 10.0 ** generator.uniform(-3, 1)
    targets = _targets(kind, reached + noise * generator.normal(size=shift.shape))
    name = "/".join(filter(None, [f"{number}", kind, f"{examples}x{outputs}x{size}", special]))
    return Problem(name, kind, matrix, shift, targets, center, radius)


def _matrix(generator, rows, columns):
    """Returns a matrix of random singular vectors, size and condition."""
    rank = min(rows, columns)
    left, right = (
        linalg.qr(generator.normal(size=(length, rank)), mode="economic")[0]
        for length in (rows, columns)
    )
    values = 10.0 ** -(generator.uniform(0, 8) * generator.random(rank))
    return 10.0 ** generator.uniform(-1, 1.5) * np.sqrt(rows) * (left * values) @ right.T


def _targets(kind, outputs):
    if kind == "multinomial":
        return np.eye(outputs.shape[1])[outputs.argmax(axis=1)]
    if kind in ("logistic", "hinge"):
        labels = (outputs > 0).astype("float64")
        return labels if kind == "logistic" else 2 * labels - 1
    return outputs
