"""The Taylor optimum of a run, as a certified interval."""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_taylor import ball, outputs
from keras_taylor.scopes import Scopes
from keras_taylor.taylor_loss import Batch

# Rounds up to this size together are kept in memory rather than read again in each pass.
CACHED_BYTES = 2**31


@dataclasses.dataclass(frozen=True)
class Optimum:
    """The Taylor optimum of one part over the recorded rounds; see `taylor_optimum`.

    Args:
        part: `"network"`, `"layer:<key>"` or `"unit:<key>/<number>"`.
        value: `F` at the comparator: an upper bound of the optimum.
        lower_bound: A lower bound of the optimum.
        radius: R of the ball of comparators about `W^1`.
        comparator: The comparator, arrays like the weights; outside of the part those of `W^1`.
        passes: Passes over the rounds that it took.
        converged: Whether the gap is at most the tolerance times the value's size.
        average_loss: The average loss of the rounds.
    """

    part: str
    value: float
    lower_bound: float
    radius: float
    comparator: list
    passes: int
    converged: bool
    average_loss: float

    @property
    def gap(self):
        """How far the bounds are apart: the optimum lies between `value - gap` and `value`."""
        return self.value - self.lower_bound

    @property
    def regret(self):
        """The bounds of average Taylor regret, average loss - optimum."""
        return self.average_loss - self.value, self.average_loss - self.lower_bound


def taylor_optimum(
    trajectory,
    model,
    scope="network",
    radius=None,
    tolerance=0.01,
    max_passes=None,
    loss=None,
    verbose="auto",
):
    """Solves for the Taylor optimum of a run: the best comparator in hindsight.

    Minimises `F(V) = (1/N) sum_n L_s^n(V)` over the ball of radius R about the first recorded
    weights, and proves how far from the minimum it is: the optimum lies in
    `[lower_bound, value]`, and average Taylor regret in `average_loss` minus these. Needs one pass
    over the rounds for each evaluation of F or of a curvature product.

    Args:
        trajectory: A `Trajectory`.
        model: A model like the one that was recorded, compiled; its weights do not matter.
        scope: `"network"`, `"layers"` for all layers, or one part: `"layer:dense_1"`,
            `"unit:dense_1/3"`.
        radius: R, or `None` for the largest distance `||W^n - W^1||` that the part travelled.
        tolerance: The gap to reach, relative to the value.
        max_passes: The most passes over the rounds for each part; `None` for no limit.
        loss: A Keras loss; `None` for the compiled one. It has to be the one trained with.
        verbose: 0 for no progress.

    Returns:
        An `Optimum`; `{layer: Optimum}` for `"layers"`. A solve that ends early has a valid
        interval and `converged=False`.

    Raises:
        ValueError: if radius or tolerance is not positive, there are no rounds, the trajectory is
            of another model or damaged, or the scope is unknown.
    """
    _check_positive("tolerance", tolerance)
    if radius is not None:
        _check_positive("radius", radius)
    if not len(trajectory):
        raise ValueError(f"trajectory {trajectory.path} has no rounds")
    trajectory.check_model(model)
    rounds = _Rounds(trajectory, model, loss)
    if scope == "layers":
        names = {layer: f"layer:{layer}" for layer in rounds.scopes.layers}
        return {
            layer: _solve(rounds, name, radius, tolerance, max_passes, verbose)
            for layer, name in names.items()
        }
    return _solve(rounds, scope, radius, tolerance, max_passes, verbose)


def _solve(rounds, name, radius, tolerance, max_passes, verbose):
    problem = _Problem(rounds, _Part(rounds.scopes, name))
    travelled, average_loss = problem.part.radius_of(rounds.travelled()), rounds.average_loss()
    radius = travelled if radius is None else radius
    if radius == 0:
        raise ValueError(
            f"part {name!r} did not move in the recorded rounds: give a radius, or record more"
        )
    bar = keras.utils.Progbar(max_passes, verbose=bool(verbose), unit_name="pass")
    passes = ball.Passes(problem, max_passes, bar.update)
    center = problem.part.vector(rounds.first)
    with rounds.trajectory.damage_told():
        found = ball.minimize(passes, center, radius, tolerance, rounds.is_quadratic)
    return Optimum(
        part=name,
        value=float(found.value),
        lower_bound=float(found.lower_bound),
        radius=float(radius),
        comparator=problem.part.arrays(found.point, rounds.first),
        passes=passes.count,
        converged=found.reached(tolerance),
        average_loss=average_loss,
    )


class _Part:
    """A part of the weights as a vector of float64."""

    def __init__(self, scopes, name):
        kind, _, rest = name.partition(":")
        self.scopes = scopes
        sizes = [math.prod(shape) for shape in scopes.shapes]
        everything = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
        everything = [n.reshape(s) for n, s in zip(everything, scopes.shapes, strict=True)]
        if name == "network":
            kept = everything
        elif kind == "layer":
            kept = scopes.layer_part(everything, rest)
        elif kind == "unit" and rest.rpartition("/")[2].isdigit():
            layer, _, number = rest.rpartition("/")
            units = scopes.layer_units(layer)
            if int(number) >= len(units):
                raise ValueError(f"layer {layer!r} has {len(units)} units, asked for {number}")
            ones = [np.ones(shape) for shape in scopes.shapes]
            mask = scopes.unit_part(ones, units[int(number)])
            kept = [
                n[np.asarray(m) > 0]
                for n, m in zip(scopes.layer_part(everything, layer), mask, strict=True)
                if n is not None
            ]
        else:
            raise ValueError(
                f"unknown scope {name!r}: expected 'network', 'layers', 'layer:<key>' or "
                f"'unit:<key>/<number>', with a key of {', '.join(scopes.layers)}"
            )
        self._places = np.concatenate([n.ravel() for n in kept if n is not None])
        self._moves = [np.isin(n, self._places) for n in everything]
        counts = scopes.unit_sums(scopes.matrices([m.astype("float64") for m in self._moves]))
        self._units = np.asarray(counts) > 0

    def vector(self, arrays):
        """Returns the part's entries of arrays like the weights."""
        flat = np.concatenate([np.asarray(a, "float64").ravel() for a in arrays])
        return flat[self._places]

    def arrays(self, vector, rest):
        """Returns arrays like the weights, with the part's entries from a vector."""
        flat = np.concatenate([np.array(a, "float64").ravel() for a in rest])
        flat[self._places] = vector
        ends = np.cumsum([math.prod(shape) for shape in self.scopes.shapes])[:-1]
        return [
            a.reshape(shape)
            for a, shape in zip(np.split(flat, ends), self.scopes.shapes, strict=True)
        ]

    def cut(self, tensors):
        """Returns tensors of a graph with those outside of the part zero or `None`."""
        return [
            None
            if not moves.any()
            else tensor
            if moves.all()
            else tensor * ops.cast(moves, tensor.dtype)
            for tensor, moves in zip(tensors, self._moves, strict=True)
        ]

    def radius_of(self, squared_by_round):
        """Returns the largest distance of the part, from squared displacements by round."""
        return float(np.sqrt(max(squares[self._units].sum() for squares in squared_by_round)))


class _Rounds:
    """A trajectory with what is the same for all parts: first weights, distances, average loss."""

    def __init__(self, trajectory, model, loss):
        self.trajectory, self.model, self.loss = trajectory, model, loss
        self.scopes = Scopes(model.trainable_variables)
        self.dataset = trajectory.dataset()
        size = sum(file.stat().st_size for file in trajectory.path.glob("*.tfrecord"))
        if size <= CACHED_BYTES:
            self.dataset = self.dataset.cache()
        with trajectory.damage_told():
            self._look()

    def _look(self):
        self.first, self._losses, self._squares = None, [], []
        for tensors in self.dataset:
            weights, _, _, _, _, loss = self.trajectory.unpack(tensors)
            weights = [w.numpy().astype("float64") for w in weights]
            if self.first is None:
                self.first = weights
                batch = self.batch(tensors)
                batch.forward()
                self.is_quadratic = all(map(outputs.is_quadratic, batch.output_loss.losses()))
            moves = [(w - f) ** 2 for w, f in zip(weights, self.first, strict=True)]
            self._squares.append(np.asarray(self.scopes.unit_sums(self.scopes.matrices(moves))))
            self._losses.append(float(loss))

    def average_loss(self):
        """Returns the mean of the recorded losses."""
        return math.fsum(self._losses) / len(self._losses)

    def travelled(self):
        """Returns squared displacements from the first weights: of all units, for each round."""
        return self._squares

    def batch(self, tensors):
        """Returns the `Batch` of a round, in a graph."""
        weights, state, x, y, sample_weight, _ = self.trajectory.unpack(tensors)
        return Batch(
            self.model, x, y, sample_weight, self.loss, weights=list(weights), state=list(state)
        )


class _Problem:
    """F of one part and its derivatives, each a single call into a graph that streams rounds."""

    def __init__(self, rounds, part):
        self.part, self._rounds = part, rounds
        self._count = len(rounds.trajectory)
        self._value = tf.function(self._summed_value, autograph=False)
        self._curvature = tf.function(self._summed_curvature, autograph=False)

    def value_and_gradient(self, v):
        """Returns F and its gradient at a vector."""
        value, gradient = self._value(self._tensors(v))
        return float(value) / self._count, self._mean(gradient)

    def curvature(self, v, p):
        """Returns the Hessian of F at a vector times another."""
        zero = [np.zeros(shape) for shape in self.part.scopes.shapes]
        direction = [tf.constant(a) for a in self.part.arrays(p, zero)]
        return self._mean(self._curvature(self._tensors(v), direction))

    def _tensors(self, v):
        return [tf.constant(a) for a in self.part.arrays(v, self._rounds.first)]

    def _mean(self, sums):
        return self.part.vector([s.numpy() for s in sums]) / self._count

    def _displacement(self, batch, v):
        moved = [ops.cast(a, w.dtype) - w for a, w in zip(v, batch.weights, strict=True)]
        return self.part.cut(moved)

    def _summed_value(self, v):
        def add(sums, tensors):
            batch = self._rounds.batch(tensors)
            value, gradient = batch.value_and_gradient(self._displacement(batch, v))
            return _added(sums, [value, *gradient])

        zeros = (tf.constant(0.0, "float64"), *_zeros(v))
        value, *gradient = self._rounds.dataset.reduce(zeros, add)
        return value, gradient

    def _summed_curvature(self, v, p):
        def add(sums, tensors):
            batch = self._rounds.batch(tensors)
            directions = [ops.cast(a, w.dtype) for a, w in zip(p, batch.weights, strict=True)]
            part = self._displacement(batch, v)
            return _added(sums, batch.curvature_product(part, self.part.cut(directions)))

        return self._rounds.dataset.reduce(_zeros(v), add)


def _zeros(tensors):
    # Tuples, since tf.data would stack a list into one tensor.
    return tuple(tf.zeros_like(tensor) for tensor in tensors)


def _added(sums, terms):
    return tuple(s + ops.cast(term, "float64") for s, term in zip(sums, terms, strict=True))


def _check_positive(name, value):
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a positive number, received {value!r}")
