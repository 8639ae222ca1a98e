"""F, the average Taylor loss of a part over recorded rounds, and its derivatives: once for all.

    F(V) = (1/N) sum_n w_n phi_n(T_n(V)) + penalties, which are linear in V

Outputs T_n are affine in V (`keras_taylor.optimum.operators`), phi_n is the loss of a round, w_n
the number of rounds that it stands for. The Hessian is `J' H J` with the Hessian H of phi.
"""

import functools

import numpy as np
import tensorflow as tf
from keras import ops

from keras_taylor.derivatives import expansion
from keras_taylor.optimum import images, preconditioner
from keras_taylor.optimum.features import ChunkLoss
from keras_taylor.optimum.operators import ModelOperator, flat_outputs
from keras_taylor.optimum.passes import CachedPasses, NotKeptError, StreamedPasses
from keras_taylor.optimum.requests import Evaluate, Extend, Multiply, Prepare, Pull, Restrict
from keras_taylor.optimum.smoothing import Smoothed
from keras_taylor.optimum.solver import Problem
from keras_taylor.taylor.convexity import is_kinked

# A preconditioner serves up to this multiple of the rounds that it was made from.
MOST_GROWTH = 4


def value_and_gradient(operator, point):
    """Returns `sum_n w_n L_n(V)` of an operator's rounds, and its gradient."""
    outputs, _ = operator.outputs(point)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        value = operator.loss(outputs)
    gradient = operator.vjp(expansion.gradients(tape, value, outputs))
    penalty = operator.penalty(point)
    if penalty is None:
        return value, gradient
    return ops.cast(value, "float64") + penalty[0], gradient + penalty[1]


def gauss_newton_product(operator, point, vector):
    """Returns `J' H J v`, with H at V."""
    outputs, tangents = operator.outputs(point, vector)
    return (operator.vjp(operator.hessian_product(outputs, tangents)),)


def losses(operator, point):
    """Returns `L_n(V)` of each round."""
    outputs, _ = operator.outputs(point)
    found, penalty = operator.losses(outputs), operator.penalty(point)
    return found if penalty is None else ops.cast(found, "float64") + penalty[0]


def output_matrix(operator, point):
    """Returns T(V), `(examples, outputs)`."""
    return flat_outputs(operator.outputs(point)[0])


def jvp_matrix(operator, vector):
    """Returns `J v`, `(examples, outputs)`."""
    return flat_outputs(operator.outputs(None, vector)[1])


def vjp_of_matrix(operator, matrix):
    """Returns `J' u` for a matrix u like those of `output_matrix`."""
    outputs, _ = operator.outputs(None)
    (output,) = outputs
    return (operator.vjp([tf.cast(tf.reshape(matrix, tf.shape(output)), output.dtype)]),)


def curvature_factors(part, operator):
    """Returns the products of a random vector whose covariance is about the curvature at W.

    It is `J' v` with v, for each example, H times normal noise, scaled: the covariance of v has the
    trace of H, and is H where that is a multiple of a projection.
    """
    outputs, _ = operator.outputs(None)
    noise = [
        tf.random.stateless_normal(tf.shape(output), (operator.number, place), dtype=output.dtype)
        for place, output in enumerate(outputs)
    ]
    found = operator.hessian_product(outputs, noise)
    scaled = [_rescaled(product, n) for product, n in zip(found, noise, strict=True)]
    sample = operator.vjp(scaled)
    return tuple(preconditioner.products(part, part.tensors(sample)))


def _rescaled(product, noise):
    """Returns `H e`, for normal e, scaled to a squared length of `<e, H e>` in each example."""
    axes = list(range(1, len(product.shape)))
    square = ops.sum(product * product, axis=axes, keepdims=True)
    trace = ops.sum(product * noise, axis=axes, keepdims=True)
    return product * ops.sqrt(ops.divide_no_nan(ops.maximum(trace, 0), square))


@functools.cache
def on_units(function):
    """Returns a function of operators with a batch axis, whose first argument are the units."""
    return lambda operator, units, *arguments: function(operator.of(units), *arguments)


class Objective:
    """F of one part, or of units of one layer side by side, by a batch axis.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        parts: The `keras_taylor.weights.parts.Part`s: one, or units of one layer with `features`.
        features: The `keras_taylor.optimum.features.Features` of the layer, or `None`.

    Attributes:
        rounds: As given.
        parts: As given.
        horizon: N, the number of rounds that F is over, from the first on.
        was_interrupted: Whether Ctrl-C came before the solve, which then takes one pass.
    """

    def __init__(self, rounds, parts, features=None):
        self.parts, self.rounds, self._features = parts, rounds, features
        self._is_batch = features is not None and parts[0].unit is not None
        self._width = tf.Variable(1.0, dtype="float64", trainable=False)
        self._passes, self._images, self.was_interrupted = {}, None, False
        self.forget()

    def forget(self):
        """Goes back to the horizon of all rounds, without a preconditioner."""
        self.horizon, self._made_from, self._preconditioner = len(self.rounds), 0, None

    def problem(self, number):
        """Returns the `Problem` of a part, given by its place in `parts`, for a new solve."""
        rounds, self._images = self.rounds, None
        is_fresh = self.horizon <= MOST_GROWTH * self._made_from
        return Problem(
            center=self.parts[number].vector(rounds.first),
            is_quadratic=rounds.loss.is_quadratic,
            keeps_images=self._output_losses is not None,
            can_prepare=not self._is_batch,
            least=rounds.least,
            can_be_precise=rounds.wide_model is not rounds.model and not self._is_exact,
            preconditioner=self._preconditioner if is_fresh else None,
        )

    @property
    def is_on_features(self):
        """Whether the search is on features of the layer, not through the model."""
        return self._features is not None

    @property
    def _is_exact(self):
        return self._features is not None and self._features.is_exact

    @functools.cached_property
    def _output_losses(self):
        rounds, (part, *_) = self.rounds, self.parts
        if self._is_batch or self.rounds.loss.is_quadratic or rounds.loss.is_kinked:
            return None
        if not images.fits(rounds, part):
            return None
        try:
            return images.OutputLosses(rounds, ChunkLoss(rounds, self._smoothed))
        except NotKeptError:
            return None

    def answers(self, asked):
        """Returns the answers to requests of several parts, `{place: answer}`, by shared passes.

        Args:
            asked: `{place in parts: request}`.
        """
        handlers = {
            Evaluate: self._evaluated,
            Multiply: self._multiplied,
            Prepare: self._prepared,
            Extend: self._extended,
            Restrict: self._restricted,
            Pull: self._pulled,
        }
        found, kinds = {}, {}
        for place, request in asked.items():
            kind = type(request), getattr(request, "precise", None), getattr(request, "width", 0.0)
            kinds.setdefault(kind, []).append(place)
        for (kind, _, width), places in kinds.items():
            # A width of zero is that of the loss itself, whose graphs do not read it.
            self._width.assign(width or 1.0)
            found |= zip(places, handlers[kind](places, [asked[p] for p in places]), strict=True)
        return found

    def at_first_weights(self):
        """Returns F and its gradient at the first weights, of the only part."""
        request = Evaluate(self.parts[0].vector(self.rounds.first))
        return self.answers({0: request})[0]

    def losses(self, places, points, check=False):
        """Returns the Taylor losses of each round at points of some parts, `(parts, rounds)`."""
        count, passes = self._count(check), self._of(True, check=check)
        if not self._is_batch:
            return passes.stack(losses, points, count)[None]
        found = [
            passes.stack(on_units(losses), arguments, count).T
            for arguments in self._blocks(places, [points])
        ]
        return np.concatenate(found)

    def _evaluated(self, places, requests):
        points, width = [request.point for request in requests], requests[0].width
        passes = self._of(True, width)
        values, gradients = self._summed(passes, value_and_gradient, places, [points], True)
        return [(float(v), g) for v, g in zip(values, gradients, strict=True)]

    def _multiplied(self, places, requests):
        _, _, precise, width = requests[0]
        vectors = [r.point for r in requests], [r.vector for r in requests]
        passes = self._of(precise, width)
        return self._summed(passes, gauss_newton_product, places, vectors, False)[0]

    def _summed(self, passes, function, places, vectors, has_value):
        """Returns what a function gives for each place, as means over the rounds."""
        count = self._count()
        if not self._is_batch:
            arguments = [each[0] for each in vectors]
            start = [np.zeros(())] * has_value + [np.zeros_like(arguments[0])]
            sums = passes.sum(function, arguments, start, count)
            return [np.asarray(each)[None] / self.horizon for each in sums]
        found = []
        for arguments in self._blocks(places, vectors):
            units, first, *_ = arguments
            start = [np.zeros(len(units))] * has_value + [np.zeros_like(first)]
            found.append(passes.sum(on_units(function), arguments, start, count))
        return [np.concatenate(each) / self.horizon for each in zip(*found, strict=True)]

    def _blocks(self, places, vectors):
        """Yields the arguments of functions on units, for as many units as fit in memory."""
        units = np.array([self.parts[place].unit for place in places], "int32")
        stacked = [np.array(each) for each in vectors]
        most = self._features.units_at_once
        for begin in range(0, len(units), most):
            yield [each[begin : begin + most] for each in (units, *stacked)]

    def _prepared(self, places, requests):
        del places, requests
        (part,), passes = self.parts, self._of(False, through_model=True)
        start = preconditioner.zeros(part)
        factors = self._factors = functools.partial(curvature_factors, part)
        sums = passes.sum(factors, [], start, self._count())
        means = [one / self.horizon for one in sums]
        self._preconditioner = preconditioner.Kronecker(part, means)
        self._made_from = self.horizon
        return [self._preconditioner]

    def _extended(self, places, requests):
        del places
        (request,) = requests
        found = self._of(False).stack(jvp_matrix, [request.vector], self._count())
        self._image_set().append(found)
        return [None]

    def _restricted(self, places, requests):
        del places
        return [self._image_set().restricted(requests[0].z)]

    def _pulled(self, places, requests):
        del places
        value, slopes = self._image_set().slopes(requests[0].z)
        # Slopes of the mean over rounds may be too small for half precision.
        start, scale = [np.zeros(self.parts[0].size)], self.horizon
        count = self._count()
        (gradient,) = self._of(False).sum(vjp_of_matrix, [], start, count, rows=scale * slopes)
        return [(value, gradient / scale)]

    def _image_set(self):
        """The `Images` of the present solve."""
        if self._images is None:
            center = self.parts[0].vector(self.rounds.first)
            at_center = self._of(False).stack(output_matrix, [center], self._count())
            self._images = images.Images(self._output_losses, at_center, self.horizon)
        return self._images

    def _count(self, check=False):
        return (self.rounds.checked if check else self.rounds.kept)(self.horizon)

    def _of(self, precise, width=0.0, check=False, through_model=False):
        """Returns the `Passes` in the precision of bounds or of the search."""
        features = None if through_model else self._features
        if features is not None and not self._is_batch:
            is_there = features.is_kept and (features.is_exact or not precise)
            features = features if is_there else None
        precise = precise or (features is not None and features.is_exact)
        # Those of the loss itself on features serve all objectives of the layer.
        is_shared = features is not None and not width
        kept = features.passes if is_shared else self._passes
        key = precise, width > 0, check, features is not None
        if key not in kept:
            function = self._smoothed if width > 0 else lambda loss: loss
            make = self._through_model if features is None else self._on_features
            kept[key] = make(precise, function, check)
        return kept[key]

    def _through_model(self, precise, function, check):
        rounds, (part,) = self.rounds, self.parts
        compiled = rounds.replaced_loss(function, wide=precise)

        def operator(weight, tensors, number):
            return ModelOperator(rounds.batch(tensors, compiled, precise), part, weight, number)

        dataset = rounds.check_dataset if check else rounds.dataset
        return StreamedPasses(dataset, operator, rounds.batch_size)

    def _on_features(self, precise, function, check):
        features, loss = self._features, ChunkLoss(self.rounds, function)
        if not self._is_batch or features.is_exact:
            chunks = features.chunks(check)
            make = functools.partial(features.operator, loss=loss)
            return CachedPasses(chunks, make)

        def operator(weight, tensors, number):
            del number
            found = features.of_round(precise, weight, tensors)
            return features.operator(found, loss)

        dataset = self.rounds.check_dataset if check else self.rounds.dataset
        return StreamedPasses(dataset, operator)

    def _smoothed(self, loss):
        return Smoothed(loss, self._width) if is_kinked(loss) else loss
