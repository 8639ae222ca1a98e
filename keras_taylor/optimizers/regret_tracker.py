"""An optimizer wrapper that tracks linear regret while a model trains."""

import numbers
import threading
import weakref

import keras
from keras import ops

from keras_taylor import backend
from keras_taylor.optimizers.wrapper import OptimizerWrapper, wrapped
from keras_taylor.tracking import linear_regret as bounds
from keras_taylor.tracking import signal_to_noise
from keras_taylor.weights.scopes import SCOPES, Scopes, check_scope

# The latest tracker of each name: saved metrics find theirs again, which was loaded before them.
_latest = weakref.WeakValueDictionary()


@keras.saving.register_keras_serializable(package="keras_taylor")
class RegretTracker(OptimizerWrapper):
    """Wraps an optimizer and bounds its Taylor regret from the gradients that pass through.

    Training is that of the inner optimizer, to the bit. Beside it, with weights `W^n`, gradient
    `g^n` and loss `l^n` of round n, streaming sums give for the network, each layer and unit

        linear_regret(N)    = sum_n <g^n, W^n - W^1> + R ||sum_n g^n||
        optimum_lower_bound = average_loss - linear_regret(N) / N

    Linear regret bounds Taylor regret from above, against all comparators within R of `W^1`;
    the other bounds the Taylor optimum from below. Regularisation is part of the loss.

    A round is one call of `apply`, with gradient accumulation one microbatch. Gradients count as
    they come: before clipping and weight decay, unscaled, summed over replicas. A round with
    a gradient or loss that is not finite is left out and counted in `skipped_steps`.

    The loss comes through `scale_loss`, which `fit` calls. A custom loop has to call
    `loss = optimizer.scale_loss(loss)` too, once before each `apply`; without, and under a
    `LossScaleOptimizer` (which mixed_float16 puts around the tracker and which keeps the loss to
    itself and skips non-finite rounds on its own), `average_loss` and `optimum_lower_bound` are
    NaN; linear regret is not affected.

    Memory: one float32 and one float64 copy of the weights; with `track_snr` three more in float64.

    Args:
        inner_optimizer: The Keras optimizer that trains.
        radius: R, the same for every part, or `None` for the largest distance `||W^n - W^1||`
            that the part travelled in the rounds tracked, so that all its iterates are
            comparators.
        track_snr: Whether to sum the squares of gradients and the updates too, for `snr`.
        name: Name of the optimizer.

    Raises:
        ValueError: if the radius is not a positive number, or the inner optimizer is or holds a
            `RegretTracker` or a `LossScaleOptimizer`.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="a")], name="net")
    >>> optimizer = RegretTracker(keras.optimizers.SGD(0.1))
    >>> model.compile(optimizer, loss="mse")
    >>> history = model.fit(np.ones((8, 4)), np.ones((8, 1)), batch_size=4, verbose=0)
    >>> int(optimizer.steps), list(optimizer.linear_regret("layers"))
    (2, ['net/a'])

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; the
    bound is a reconstruction.
    """

    def __init__(self, inner_optimizer, radius=None, track_snr=False, name=None):
        is_number = isinstance(radius, numbers.Real)
        if radius is not None and not (is_number and 0 < radius < float("inf")):
            raise ValueError(
                f"radius must be a positive number or None (the distance travelled), "
                f"received {radius!r}"
            )
        super().__init__(inner_optimizer, name=name)
        self.radius, self.track_snr = radius, bool(track_snr)
        self._losses, self._pending = {}, {}
        self._scopes = None
        self._steps = self._add_sum((), "steps", "int64")
        self._skipped_steps = self._add_sum((), "skipped_steps", "int64")
        self._loss_sum = self._add_sum((), "loss")
        _latest[self.name] = self

    def build(self, variables):
        if self.built:
            return
        # Numbers, since an optimizer would count a list of variables among its own.
        self._tracked_indices = [
            index
            for index, variable in enumerate(variables)
            if not self._overwrite_variable_with_gradient(variable)
        ]
        tracked = [variables[index] for index in self._tracked_indices]
        self._scopes = Scopes(tracked)
        self._dtype = _widest(variable.dtype for variable in tracked)
        shapes = [(piece.rows, sum(piece.columns)) for piece in self._scopes.pieces]
        # Zeros until the first round: this may run while that round is traced.
        self._start = [self._add_sum(shape, "start", self._dtype) for shape in shapes]
        self._gradient_sums = [self._add_sum(shape, "gradient") for shape in shapes]
        self._noise = signal_to_noise.Sums(self._add_sum, shapes) if self.track_snr else None
        self._inner_products = self._add_sum((self._scopes.unit_count,), "inner_product")
        self._squared_distances = {
            "network": self._add_sum((), "network_distance"),
            "layers": self._add_sum((len(self._scopes.layers),), "layer_distance"),
            "units": self._add_sum((self._scopes.unit_count,), "unit_distance"),
        }
        super().build(variables)

    @property
    def steps(self):
        """Number of rounds in the sums, as a scalar integer tensor."""
        return self._steps + 0

    @property
    def skipped_steps(self):
        """Number of rounds left out because a gradient or the loss was not finite."""
        return self._skipped_steps + 0

    @property
    def average_loss(self):
        """Mean of the loss over the rounds in the sums, a scalar; NaN before the first one."""
        return self._out(bounds.average(self._loss_sum, self._steps))

    def linear_regret(self, scope="network", comparator=None):
        """Returns cumulative linear regret, summed over the rounds tracked.

        Args:
            scope: `"network"`, `"layers"` or `"units"`.
            comparator: `None` for the worst one in the ball, or arrays shaped like the weights
                for that one: `sum_n <g^n, W^n - V>`, in the ball or not.

        Returns:
            A scalar, `{layer: scalar}` or `{layer: (units,)}`.

        Raises:
            ValueError: if the optimizer is not built, the scope is unknown, or the comparator has
                other shapes than the weights.
        """
        return self._named(self._linear_regret(scope, comparator), scope)

    def optimum_lower_bound(self, scope="network"):
        """Returns a lower bound of the Taylor optimum: average loss - linear regret / N.

        Args and returns as `linear_regret`; NaN before the first round.
        """
        average_loss = bounds.average(self._loss_sum, self._steps)
        bound = bounds.optimum_lower_bound(average_loss, self._linear_regret(scope), self._steps)
        return self._named(bound, scope)

    def distance_travelled(self, scope="network"):
        """Returns the largest `||W^n - W^1||` over the rounds tracked: R where it is `None`.

        Args and returns as `linear_regret`.
        """
        self._check_built(scope)
        return self._named(ops.sqrt(self._squared_distances[scope]), scope)

    def snr(self, scope="network", of="gradients"):
        """Returns the signal-to-noise ratio of coordinates over the rounds tracked, by quantiles.

        For each coordinate `|sum g| / sqrt(N sum g^2)`, from 0 (noise) to 1 (the same in each
        round); 0 for a coordinate that got no gradient.

        Args:
            scope: `"network"`, `"layers"` or `"units"`.
            of: `"gradients"` as they come, or `"updates"` of the weights.

        Returns:
            The quantiles 5, 25, 50, 75 and 95 % over the part's coordinates, `(5,)`; `{layer:
            (5,)}`; or `{layer: (units, 5)}`.

        Raises:
            ValueError: if the optimizer was made without `track_snr`, is not built, or the scope
                or kind is unknown.
        """
        self._check_built(scope)
        if self._noise is None:
            raise ValueError(
                f"{self.name} does not keep what the ratio needs: make it with track_snr=True"
            )
        ratios = self._noise.ratios(of, self._gradient_sums, self._steps)
        ratios = [self._out(ratio) for ratio in self._scopes.tensors(ratios)]
        return signal_to_noise.quantiles(self._scopes, ratios, scope)

    def start_tracking(self):
        """Zeroes all sums; the next round's weights become `W^1`. For use after a burn-in."""
        # Before it is built, all sums are zero.
        for variable in [self._steps, self._skipped_steps, self._loss_sum, *self._built_sums()]:
            variable.assign(ops.zeros(variable.shape, variable.dtype))

    def scale_loss(self, loss):
        # Under `tf.distribute`, each replica runs this in a thread of its own.
        self._losses[threading.get_ident()] = loss
        return super().scale_loss(loss)

    def before_update(self, gradients, variables):
        loss = self._losses.pop(threading.get_ident(), None)
        known = loss is not None and backend.is_reachable(loss)
        loss = ops.cast(loss if known else float("nan"), bounds.SUM_DTYPE)
        tensors = backend.sum_over_replicas(self._comparable(gradients, variables))
        (loss,) = backend.sum_over_replicas([loss])
        recorded = self._record(tensors, loss, known)
        if self.track_snr:
            self._pending[threading.get_ident()] = recorded
        return gradients

    def after_update(self):
        if not self.track_snr:
            return
        gradients, weights, finite = self._pending.pop(threading.get_ident())
        moved = [after - before for after, before in zip(self._weights(), weights, strict=True)]
        ops.cond(finite, lambda: self._noise.add(gradients, moved), lambda: None)

    def get_config(self):
        own = {"radius": self.radius, "track_snr": self.track_snr}
        return super().get_config() | own

    def _comparable(self, gradients, variables):
        """Returns gradients as dense, unscaled tensors, one for each variable that is tracked."""
        by_index = {
            self._get_variable_index(variable): gradient
            for gradient, variable in zip(gradients, variables, strict=True)
            if gradient is not None
        }
        return [
            self._unscaled(by_index[index])
            if index in by_index
            else ops.zeros(self._trainable_variables[index].shape, self._dtype)
            for index in self._tracked_indices
        ]

    def _unscaled(self, gradient):
        gradient = ops.cast(backend.observable(backend.densify(gradient)), self._dtype)
        scale = self.loss_scale_factor
        return gradient if scale is None else gradient / scale

    def _record(self, gradients, loss, loss_is_known):
        gradients = self._scopes.matrices(gradients)
        weights = self._weights()
        self._start_at(weights)
        displacements = [w - s for w, s in zip(weights, self._start, strict=True)]
        products = bounds.unit_inner_products(self._scopes, gradients, displacements)
        distances = bounds.unit_squared_norms(self._scopes, displacements)
        # A gradient that is not finite makes its inner product so too, even where W^n = W^1.
        total = ops.sum(products + distances)
        finite = ops.isfinite(total + loss if loss_is_known else total)
        ops.cond(
            finite,
            lambda: self._add(gradients, products, distances, loss),
            self._skip,
        )
        return gradients, weights, finite

    def _weights(self):
        """Returns the present weights as matrices, which later updates do not change."""
        variables = [self._trainable_variables[index] for index in self._tracked_indices]
        values = backend.snapshot(variables) if self.track_snr else variables
        return self._scopes.matrices([ops.cast(v, self._dtype) for v in values])

    def _skip(self):
        self._skipped_steps.assign_add(1)

    def _start_at(self, weights):
        def assign():
            for start, weight in zip(self._start, weights, strict=True):
                start.assign(weight)

        is_first = ops.equal(self._steps + self._skipped_steps, 0)
        ops.cond(is_first, assign, lambda: None)

    def _add(self, gradients, products, distances, loss):
        self._steps.assign_add(1)
        self._loss_sum.assign_add(loss)
        self._inner_products.assign_add(products)
        for gradient_sum, gradient in zip(self._gradient_sums, gradients, strict=True):
            gradient_sum.assign_add(ops.cast(gradient, bounds.SUM_DTYPE))
        for scope, largest in self._squared_distances.items():
            largest.assign(ops.maximum(largest, self._scopes.totals(distances, scope)))

    def _linear_regret(self, scope, comparator=None):
        self._check_built(scope)
        if comparator is None:
            distances = self._squared_distances[scope]
            radius = ops.sqrt(distances) if self.radius is None else self.radius
            return bounds.linear_regret(
                self._scopes, self._inner_products, self._gradient_sums, radius, scope
            )
        return bounds.linear_regret_against(
            self._scopes,
            self._inner_products,
            self._gradient_sums,
            self._displacement(comparator),
            scope,
        )

    def _displacement(self, comparator):
        self._scopes.check_shapes(comparator, "comparator")
        wide = [ops.cast(weights, bounds.SUM_DTYPE) for weights in comparator]
        return [
            matrix - ops.cast(start, bounds.SUM_DTYPE)
            for matrix, start in zip(self._scopes.matrices(wide), self._start, strict=True)
        ]

    def _check_built(self, scope):
        check_scope(scope)
        if not self.built:
            raise ValueError(
                f"{self.name} is not built yet and has tracked nothing: train a step, or call "
                "`optimizer.build(model.trainable_variables)`"
            )

    def _built_sums(self):
        if not self.built:
            return []
        return [
            *self._gradient_sums,
            self._inner_products,
            *(self._squared_distances[scope] for scope in SCOPES),
            *(self._noise.variables() if self._noise is not None else ()),
        ]

    def _add_sum(self, shape, name, dtype=bounds.SUM_DTYPE):
        return self.add_variable(shape, dtype=dtype, name=name)

    def _named(self, values, scope):
        return self._scopes.named(self._out(values), scope)

    def _out(self, values):
        return ops.cast(values, self._dtype if self.built else keras.config.floatx())


def tracker_of(optimizer):
    """Returns the `RegretTracker` that an optimizer is or wraps, however deep, or `None`."""
    return next((inner for inner in wrapped(optimizer) if isinstance(inner, RegretTracker)), None)


def latest_tracker(name):
    """Returns the tracker of this name that was made last and still lives, or `None`."""
    return _latest.get(name)


def _widest(dtypes):
    return "float64" if "float64" in set(dtypes) else "float32"
