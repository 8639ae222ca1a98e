"""An optimizer wrapper that divides gradients by their running root mean square."""

import keras
from keras import ops

from keras_taylor import backend
from keras_taylor.optimizers.wrapper import OptimizerWrapper
from keras_taylor.weights.scopes import Scopes

GRANULARITIES = ("weight", "unit", "layer")


@keras.saving.register_keras_serializable(package="keras_taylor")
class RMSNormalized(OptimizerWrapper):
    """Divides gradients by their running root mean square before an optimizer applies them.

    With `m` the mean of `g^2` over a group of weights, in each round

        v <- rho v + (1 - rho) m
        g <- g / sqrt(v + epsilon)

    A group is a single weight, a unit (all weights that lead to it, and its bias) or a layer.
    Around SGD, and with groups of single weights, this is the RMSprop of Keras. Around an
    optimizer with momentum, it adds RMS normalisation and nothing else.

    With `RegretTracker(RMSNormalized(...))` the tracker reads the gradients of the loss, and its
    bounds hold. With `RMSNormalized(RegretTracker(...))` it reads normalised gradients, and its
    sums are not the regret of the loss.

    With gradient accumulation, each microbatch is normalised. Memory: one number for each group.

    Args:
        inner_optimizer: The Keras optimizer that trains: an object, a name or a configuration.
        rho: The share of v that is kept in each round, at least 0 and below 1.
        epsilon: A positive number, added to v.
        granularity: The groups: `"weight"`, `"unit"` or `"layer"`.
        name: The name of the optimizer.

    Raises:
        ValueError: if `rho`, `epsilon` or `granularity` is not as above, or the inner optimizer is
            or holds an `RMSNormalized` or a `LossScaleOptimizer`.

    Example:

    >>> optimizer = RMSNormalized(keras.optimizers.SGD(0.1), granularity="unit")
    >>> weights = keras.Variable([[1.0, 1.0]], name="kernel")
    >>> optimizer.apply([np.array([[4.0, -0.5]], "float32")], [weights])
    >>> np.round(weights.numpy(), 3)  # 1 - 0.1 / sqrt(0.1) and 1 + 0.1 / sqrt(0.1)
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
            raise ValueError(f"rho must be at least 0 and below 1, received {rho!r}")
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive, received {epsilon!r}")
        super().__init__(inner_optimizer, name=name)
        self.rho, self.epsilon, self.granularity = rho, epsilon, granularity

    def build(self, variables):
        if not self.is_due(variables):
            return
        self._scopes = Scopes(variables)
        widest = "float64" if "float64" in {v.dtype for v in variables} else "float32"
        shapes = {
            "weight": [(tuple(v.shape), v.dtype) for v in variables],
            "unit": [((self._scopes.unit_count,), widest)],
            "layer": [((len(self._scopes.layers),), widest)],
        }[self.granularity]
        # Numbered, because .h5 files need names that differ.
        self._mean_squares = [
            self.add_variable(shape, dtype=dtype, name=f"mean_square_{number}")
            for number, (shape, dtype) in enumerate(shapes)
        ]
        super().build(variables)

    def before_update(self, gradients, variables):
        by_index = {
            self._get_variable_index(variable): backend.densify(gradient)
            for gradient, variable in zip(gradients, variables, strict=True)
            if gradient is not None and not self._overwrite_variable_with_gradient(variable)
        }
        scale = self.loss_scale_factor or 1.0
        summed = backend.sum_over_replicas([g / scale for g in by_index.values()])
        normalised = self._normalised(dict(zip(by_index, summed, strict=True)))
        # The inner optimizer sums over replicas and divides by the loss scale.
        share = scale / backend.replica_count()
        return [
            normalised[index] * share
            if (index := self._get_variable_index(variable)) in normalised
            else gradient
            for gradient, variable in zip(gradients, variables, strict=True)
        ]

    def _normalised(self, gradients):
        """Updates the mean squares; returns the normalised gradients, by index of variable."""
        squares = {index: ops.square(g) for index, g in gradients.items()}
        if self.granularity == "weight":
            return {
                index: g * self._inverse_root(self._mean_squares[index], squares[index])
                for index, g in gradients.items()
            }
        indices = range(len(self._scopes.shapes))
        dtype = self._mean_squares[0].dtype
        full = [squares.get(i, ops.zeros(self._scopes.shapes[i], dtype)) for i in indices]
        factors = self._unit_factors([ops.cast(square, dtype) for square in full])
        scaled = self._scopes.scaled(
            [ops.cast(gradients[i], dtype) if i in gradients else None for i in indices], factors
        )
        return {i: ops.cast(scaled[i], gradients[i].dtype) for i in gradients}

    def _unit_factors(self, squares):
        scopes, kind = self._scopes, f"{self.granularity}s"
        ones = [ops.ones_like(square) for square in squares]
        sums, sizes = (
            scopes.totals(scopes.unit_sums(scopes.matrices(each)), kind) for each in (squares, ones)
        )
        factors = self._inverse_root(self._mean_squares[0], sums / sizes)
        if self.granularity == "unit":
            return factors
        return ops.take(factors, scopes.unit_layers)

    def _inverse_root(self, mean_square, square):
        mean_square.assign(self.rho * mean_square + (1 - self.rho) * square)
        return ops.rsqrt(mean_square + self.epsilon)

    def get_config(self):
        own = {"rho": self.rho, "epsilon": self.epsilon, "granularity": self.granularity}
        return super().get_config() | own
