"""F of an affine layer: bounds by passes through the model, the way there on what was kept of it.

On features (see `keras_taylor.optimum.affine_features`), F and its gradient take one application of
the layer and one gradient of its weights, or two products with J, and so does a product of F's
Hessian, `J' H J p` with H the curvature of the loss in the outputs. A pass through the model runs
and differentiates all layers. But features are rounded to float32, so they only say where the
optimum is: what is reported of it is evaluated there through the model, in float64.
"""

import numpy as np
import tensorflow as tf

from keras_taylor.optimum import affine_features, ball, chunks, output_subspace
from keras_taylor.optimum.affine_graphs import AffineGraphs
from keras_taylor.optimum.objective import OutputObjective
from keras_taylor.optimum.passes import Passes
from keras_taylor.optimum.streamed import StreamedObjective, agrees
from keras_taylor.optimum.tolerance import Absolute
from keras_taylor.taylor.unit_losses import by_example

# How far F and its gradient may be from what passes through the model give, by precision.
AGREEMENT = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 0.1, "float16": 0.1}
# The relative gap below which a solve would follow rounding.
FINEST = {"float64": 0.0, "float32": 1e-5, "bfloat16": 1e-2, "float16": 1e-2}
# Directions that a long solve looks along.
DIRECTIONS = 200
# A solve with fewer passes than these for a radius has none to spare for the proof.
FEWEST_PASSES = 10


class AffineObjective(StreamedObjective):
    """F of a dense or convolutional layer and its derivatives, through the model.

    It is minimised on features first, where the layer has them. They are collected once for all
    horizons, which takes about as long as a pass.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        part: The `keras_taylor.weights.parts.Part`, a whole layer.
    """

    def on_features(self):
        """Returns the same objective on features, or `None` where there are none."""
        found = self._rounds.remember(self.part.layer, "affine features", self._collected)
        return None if found is None else FeatureObjective(self, self._rounds, *found)

    def minimize(self, budget, center, radii, tolerance, warm_start):
        rough = None
        try:
            rough = self.on_features() if budget.has_left(FEWEST_PASSES * len(radii)) else None
        except KeyboardInterrupt:
            budget.interrupt()
        if rough is None:
            return super().minimize(budget, center, radii, tolerance, warm_start)
        options = center, radii, rough.tolerance(tolerance)
        # Two passes to evaluate each interval, and one for each to come.
        budget.reserved += 2 * len(radii)
        if self.is_quadratic or not rough.has_room_for_images:
            passes = Passes(rough, budget)
            found = ball.minimize(passes, *options, self.is_quadratic, warm_start)
        else:
            found = output_subspace.minimize(rough, budget, *options, warm_start)
        budget.reserved -= 2 * len(radii)
        options = center, radii, tolerance, self.is_quadratic
        return ball.minimize(Passes(self, budget), *options, found=found)

    def _collected(self):
        """Returns the features of the layer with their graphs; `None` where they are not right."""
        rounds, key = self._rounds, self.part.layer
        features = affine_features.collect(rounds, key)
        if features is None:
            return None
        found = features, AffineGraphs(rounds, rounds.affine_layer(key), features.batch_size)
        whole = self.over_first(len(rounds))
        rough = FeatureObjective(whole, rounds, *found)
        first, tolerance = self.part.vector(rounds.first), AGREEMENT[rough.dtype]
        return found if agrees(rough, whole, first, tolerance) else None


class FeatureObjective(OutputObjective):
    """F of an affine layer on features, in their precision.

    Args:
        through_model: The `AffineObjective`, whose preconditioner is used.
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        features: The `keras_taylor.optimum.chunks.Chunks` of the layer.
        graphs: Its `keras_taylor.optimum.affine_graphs.AffineGraphs`.
    """

    can_prepare = True

    def __init__(self, through_model, rounds, features, graphs):
        self.part, self.horizon = through_model.part, through_model.horizon
        self._through_model, self._rounds = through_model, rounds
        self._features, self._graphs = features, graphs
        order = {id(one): place for place, one in enumerate(rounds.model.trainable_variables)}
        # Kernel and bias in the list of all weights.
        layer = rounds.affine_layer(self.part.layer)
        self._places = [order[id(one)] for one in layer.trainable_variables]
        self._still = [np.zeros(shape) for shape in self.part.scopes.shapes]
        self._size = self.part.vector(rounds.first).size
        self._kept = None
        # The latest point, and T there, which the products of one model share.
        self._at, self._found = None, []

    @property
    def preconditioner(self):
        return self._through_model.preconditioner

    def prepare(self):
        self._through_model.prepare()

    @property
    def dtype(self):
        """The precision of the features."""
        return self._features.chunks[0]["constant"].dtype.name

    @property
    def has_room_for_images(self):
        """Whether the outputs' moves along all directions of a long solve can be kept.

        Twice, once times their curvature, which is a matrix for each example.
        """
        shapes = [by_example(chunk["constant"]).shape for chunk in self._chunks()]
        (outputs,) = {shape[1] for shape in shapes}
        numbers = sum(examples for examples, _ in shapes) * outputs
        needed = 8 * numbers * (2 * min(DIRECTIONS, self._size) + outputs)
        return needed <= affine_features.KEPT_BYTES

    def tolerance(self, tolerance):
        """Returns the tolerance to minimise to, for one that is to be proved."""
        asked = ball.MARGIN * tolerance
        is_relative = not isinstance(asked, Absolute)
        return max(asked, FINEST[self.dtype]) if is_relative else asked

    def over_first(self, horizon):
        return self._through_model.over_first(horizon).on_features()

    def minimize(self, budget, center, radii, tolerance, warm_start):
        return self._through_model.minimize(budget, center, radii, tolerance, warm_start)

    def losses(self, point, check=False):
        return self._through_model.losses(point, check)

    def value_and_gradient(self, point):
        weights, found = self._weights(point), []
        for chunk in self._chunks():
            value, gradient = self._graphs.value(weights, chunk)
            found.append((float(value), self._vector(gradient)))
        values, gradients = zip(*found, strict=True)
        return sum(values) / self.horizon, sum(gradients) / self.horizon

    def curvature_product(self, point, vector):
        if self._at is None or np.any(self._at != point):
            weights = self._weights(point)
            self._found = [self._graphs.points(weights, chunk) for chunk in self._chunks()]
            self._at = point.copy()
        weights = self._weights(vector)
        products = (
            self._vector(self._graphs.product(weights, chunk | {"points": points}))
            for chunk, points in zip(self._chunks(), self._found, strict=True)
        )
        return sum(products) / self.horizon

    def outputs(self, point):
        weights = self._weights(point)
        return self._joined(self._graphs.points(weights, chunk) for chunk in self._chunks())

    def moved(self, vector):
        weights = self._weights(vector)
        return self._joined(self._graphs.moved(weights, chunk) for chunk in self._chunks())

    def pulled(self, slopes):
        # Those of the mean over rounds may be too small for half precision.
        pieces = self._pieces(self.horizon * slopes)
        pulled = (
            self._vector(self._graphs.pulled(chunk | {"slopes": tf.constant(piece, self.dtype)}))
            for piece, chunk in pieces
        )
        return sum(pulled) / self.horizon

    def value_and_slopes(self, outputs):
        pieces = self._pieces(outputs)
        found = [self._graphs.slopes(chunk | {"points": tf.constant(p)}) for p, chunk in pieces]
        values, slopes = zip(*found, strict=True)
        return sum(map(float, values)) / self.horizon, self._joined(slopes) / self.horizon

    def curvature(self, outputs):
        pieces = self._pieces(outputs)
        blocks = [self._graphs.curvature(chunk | {"points": tf.constant(p)}) for p, chunk in pieces]
        return np.concatenate(blocks) / self.horizon

    def _pieces(self, array):
        """Yields the part of an array of all examples for each chunk, and the chunk."""
        start = 0
        for chunk in self._chunks():
            end = start + chunks.examples(chunk)
            yield array[start:end], chunk
            start = end

    def _joined(self, tensors):
        return np.concatenate([by_example(one).numpy().astype("float64") for one in tensors])

    def _chunks(self):
        if self._kept is None:
            # Where rounds end within a chunk, its part is a copy: made once.
            self._kept = list(self._features.first(self._rounds.kept(self.horizon)))
        return self._kept

    def _vector(self, tensors):
        arrays = list(self._still)
        for place, tensor in zip(self._places, tensors, strict=True):
            arrays[place] = tensor.numpy()
        return self.part.vector(arrays)

    def _weights(self, vector):
        arrays = self.part.arrays(vector, self._still)
        return [tf.constant(arrays[place], self.dtype) for place in self._places]
