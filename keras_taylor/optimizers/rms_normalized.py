"""An optimizer wrapper that divides gradients by their running root mean square."""

import keras
from keras import ops

from keras_taylor import backend
from keras_taylor.optimizers.wrapper import OptimizerWrapper
from keras_taylor.weights.scopes import Scopes

GRANULARITIES = ("weight", "unit", "layer")


@keras.saving.register_keras_serializable(package="keras_taylor")
class RMSNormalized(OptimizerWrapper):
    """Gives an optimizer gradients of size about one: RMS normalisation, on its own.

    With gradient g, before the inner optimizer sees it,

        v <- rho v + (1 - rho) mean of g^2 over the part
        g <- g / sqrt(v + epsilon)

    where a part is a single weight, a unit (all weights that lead to it, its bias too) or a layer.
    Around SGD, with parts of single weights, it is Keras' RMSprop. Around momentum it isolates what
    RMS normalisation does.

    Inside a `RegretTracker` (`RegretTracker(RMSNormalized(...))`) the tracker sees raw gradients,
    and its bounds hold. The other way round it sees normalised ones, whose inner products are no
    regret of the loss.

    Under gradient accumulation, each microbatch is normalised. Memory: one number for each part.

    Args:
        inner_optimizer: The Keras optimizer that trains.
        rho: The share of v that stays, from 0 up to but not 1.
        epsilon: What is added to v.
        granularity: `"weight"`, `"unit"` or `"layer"`.
        name: Name of the optimizer.

    Raises:
        ValueError: if an argument is none of these, or the inner optimizer is or holds an
            `RMSNormalized` or a `LossScaleOptimizer`.

    Example:

    >>> optimizer = RMSNormalized(keras.optimizers.SGD(0.1), granularity="unit")
    >>> weights = keras.Variable([[1.0, 1.0]], name="kernel")
    >>> optimizer.apply([np.array([[4.0, -0.5]], "float32")], [weights])
    >>> np.round(weights.numpy(), 3)  # 1 - 0.1 / sqrt(0.1), and the same upwards
    array([[0.684, 1.316]], dtype=float32)

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017, for the
    question; RMSprop is from Tieleman and Hinton's lectures, 2012.
    """

    def __init__(self, inner_optimizer, rho=0.9, epsilon=1e-7, granularity="weight", name=None):
        if granularity not in GRANULARITIES:
            raise ValueError(
                f"unknown granularity {granularity!r}: expected one of {', '.join(GRANULARITIES)}"
            )
        if not 0 <= rho < 1:
            raise ValueError(f"rho must be from 0 up to but not 1, received {rho!r}")
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive, received {epsilon!r}")
        super().__init__(inner_optimizer, name=name)
        self.rho, self.epsilon, self.granularity = rho, epsilon, granularity

    def build(self, variables):
        if self.built:
            return
        self._scopes = Scopes(variables)
        widest = "float64" if "float64" in {v.dtype for v in variables} else "float32"
        shapes = {
            "weight": [(tuple(v.shape), v.dtype) for v in variables],
            "unit": [((self._scopes.unit_count,), widest)],
            "layer": [((len(self._scopes.layers),), widest)],
        }[self.granularity]
        self._mean_squares = [
            self.add_variable(shape, dtype=dtype, name="mean_square") for shape, dtype in shapes
        ]
        super().build(variables)

    def before_update(self, gradients, variables):
        places = {
            self._get_variable_index(variable): backend.densify(gradient)
            for gradient, variable in zip(gradients, variables, strict=True)
            if gradient is not None and not self._overwrite_variable_with_gradient(variable)
        }
        scale = self.loss_scale_factor or 1.0
        summed = backend.sum_over_replicas([g / scale for g in places.values()])
        normalised = self._normalised(dict(zip(places, summed, strict=True)))
        # Inner optimizers sum over replicas themselves, and take the scale off.
        share = scale / backend.replica_count()
        return [
            normalised[index] * share
            if (index := self._get_variable_index(variable)) in normalised
            else gradient
            for gradient, variable in zip(gradients, variables, strict=True)
        ]

    def _normalised(self, gradients):
        """Returns gradients, by their variables' numbers, over their updated root mean squares."""
        squares = {index: ops.square(g) for index, g in gradients.items()}
        if self.granularity == "weight":
            return {
                index: g * self._inverse_root(self._mean_squares[index], squares[index])
                for index, g in gradients.items()
            }
        places = range(len(self._scopes.shapes))
        dtype = self._mean_squares[0].dtype
        full = [squares.get(i, ops.zeros(self._scopes.shapes[i], dtype)) for i in places]
        factors = self._unit_factors([ops.cast(square, dtype) for square in full])
        scaled = self._scopes.scaled(
            [ops.cast(gradients[i], dtype) if i in gradients else None for i in places], factors
        )
        return {i: ops.cast(scaled[i], gradients[i].dtype) for i in gradients}

    def _unit_factors(self, squares):
        scopes, scope = self._scopes, f"{self.granularity}s"
        ones = [ops.ones_like(square) for square in squares]
        sums, counts = (
            scopes.totals(scopes.unit_sums(scopes.matrices(each)), scope)
            for each in (squares, ones)
        )
        factors = self._inverse_root(self._mean_squares[0], sums / counts)
        if self.granularity == "unit":
            return factors
        return ops.take(factors, scopes.unit_layers)

    def _inverse_root(self, mean_square, square):
        mean_square.assign(self.rho * mean_square + (1 - self.rho) * square)
        return ops.rsqrt(mean_square + self.epsilon)

    def get_config(self):
        own = {"rho": self.rho, "epsilon": self.epsilon, "granularity": self.granularity}
        return super().get_config() | own
