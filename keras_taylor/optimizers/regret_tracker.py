"""An optimizer wrapper that tracks linear regret while a model trains."""

import threading
import weakref

import keras
from keras import ops

from keras_taylor import backend
from keras_taylor.optimizers.wrapper import OptimizerWrapper, wrapped
from keras_taylor.tracking import linear_regret as bounds
from keras_taylor.tracking import signal_to_noise
from keras_taylor.tracking.regret_sums import RegretSums
from keras_taylor.weights.arguments import check_radius
from keras_taylor.weights.scopes import Scopes, check_scope

# The latest tracker of each name. A saved metric uses it to find the tracker that was loaded first.
_latest = weakref.WeakValueDictionary()


@keras.saving.register_keras_serializable(package="keras_taylor")
class RegretTracker(OptimizerWrapper):
    """Wraps an optimizer and bounds its Taylor regret from the gradients that pass through.

    Training is the same as with the inner optimizer alone, to the bit. Let `W^n`, `g^n` and `l^n`
    be the weights, the gradient and the loss of round n. From streaming sums over the N rounds
    tracked, the tracker gives for the network, each layer and each unit

        linear_regret       = sum_n <g^n, W^n - W^1> + R ||sum_n g^n||
        optimum_lower_bound = average_loss - linear_regret / N

    Linear regret is an upper bound of the Taylor regret against every comparator within R of
    `W^1`. The second value is a lower bound of the Taylor optimum within R of `W^1`. The loss
    includes regularisation.

    A round is one call of `apply`; with gradient accumulation, that is one microbatch. The tracker
    reads gradients before clipping and weight decay, without the loss scale, and summed over
    replicas. If a gradient or the loss of a round is not finite, the round is left out and counted
    in `skipped_steps`.

    The tracker sees the loss in `scale_loss`, which `fit` calls. In a custom loop, call
    `loss = optimizer.scale_loss(loss)` once before each `apply`. Without the loss, `average_loss`
    and `optimum_lower_bound` are NaN, while linear regret is not affected. The loss is missing,
    too, if a `LossScaleOptimizer` is around the tracker, because it does not pass the loss on.
    (Under mixed_float16, `compile` puts one there. It also skips rounds that are not finite by
    itself, and these are not counted in `skipped_steps`.)

    Memory: one copy of the weights in their dtype and one in float64; with `track_snr` three more
    in float64.

    Args:
        inner_optimizer: The Keras optimizer that trains: an object, a name or a configuration.
        radius: R, the same for every part. With `None`, R is for each part the largest distance
            `||W^n - W^1||` in the rounds tracked, so that all its iterates are comparators.
        track_snr: Whether to keep the sums that `snr` needs.
        name: The name of the optimizer.

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
        check_radius(radius)
        super().__init__(inner_optimizer, name=name)
        self.radius = None if radius is None else float(radius)
        self.track_snr = bool(track_snr)
        # Under `tf.distribute`, each replica runs a round in its own thread.
        self._loss_by_thread, self._round_by_thread = {}, {}
        self._scopes = self._sums = None
        self._steps = self._add_variable((), "steps", "int64")
        self._skipped_steps = self._add_variable((), "skipped_steps", "int64")
        self._loss_sum = self._add_variable((), "loss", bounds.SUM_DTYPE)
        _latest[self.name] = self

    def build(self, variables):
        if self.built:
            return
        # Indices, because an optimizer adds each list of variables it is given to its own.
        self._tracked_indices = [
            index
            for index, variable in enumerate(variables)
            if not self._overwrite_variable_with_gradient(variable)
        ]
        tracked = [variables[index] for index in self._tracked_indices]
        self._scopes = Scopes(tracked)
        self._dtype = _widest(variable.dtype for variable in tracked)
        # `W^1` is zero until the first round, because this may run while that round is traced.
        self._sums = RegretSums(self._add_variable, self._scopes, self._dtype, self.track_snr)
        super().build(variables)

    @property
    def steps(self):
        """The number of rounds in the sums, a scalar integer tensor."""
        return self._steps + 0

    @property
    def skipped_steps(self):
        """The number of rounds left out because a gradient or the loss was not finite."""
        return self._skipped_steps + 0

    @property
    def average_loss(self):
        """The mean of the loss over the rounds in the sums, a scalar; NaN before the first one."""
        return self._out(bounds.average(self._loss_sum, self._steps))

    def linear_regret(self, scope="network", comparator=None):
        """Returns cumulative linear regret, a sum over the rounds tracked, in units of the loss.

        Without a comparator it is `sum_n <g^n, W^n - W^1> + R ||sum_n g^n||`, against the worst
        comparator within R of `W^1`. Against a comparator V it is `sum_n <g^n, W^n - V>`.

        Args:
            scope: `"network"`, `"layers"`, `"units"`, `"layer:<key>"` or `"unit:<key>/<n>"`.
            comparator: `None`, or V as arrays shaped like the weights, inside the ball or not.

        Returns:
            A scalar for the network, one layer or one unit; `{layer: scalar}`; or
            `{layer: (units,)}`.

        Raises:
            ValueError: if the optimizer is not built, there is no such scope, or the shapes of
                the comparator differ from those of the weights.

        Example:

        >>> optimizer = RegretTracker(keras.optimizers.SGD(0.1), radius=2.0)
        >>> weight = keras.Variable([1.0, 1.0], name="w")
        >>> optimizer.apply([np.array([3.0, -4.0], "float32")], [weight])
        >>> float(optimizer.linear_regret())  # in the first round W^n - W^1 is zero
        10.0
        >>> float(optimizer.linear_regret("unit:w/1"))
        8.0
        """
        return self._named(self._linear_regret(scope, comparator), scope)

    def optimum_lower_bound(self, scope="network"):
        """Returns a lower bound of the Taylor optimum: `average_loss - linear_regret / N`.

        Args:
            scope: `"network"`, `"layers"`, `"units"`, `"layer:<key>"` or `"unit:<key>/<n>"`.

        Returns:
            A scalar for the network, one layer or one unit; `{layer: scalar}`; or
            `{layer: (units,)}`. An average over rounds, in units of the loss. NaN before the first
            round, and where the tracker did not see the loss.

        Raises:
            ValueError: if the optimizer is not built or there is no such scope.

        Example:

        >>> optimizer = RegretTracker(keras.optimizers.SGD(0.1), radius=2.0)
        >>> weight = keras.Variable([1.0, 1.0], name="w")
        >>> loss = optimizer.scale_loss(15.0)
        >>> optimizer.apply([np.array([3.0, -4.0], "float32")], [weight])
        >>> float(optimizer.optimum_lower_bound())
        5.0
        """
        average_loss = bounds.average(self._loss_sum, self._steps)
        bound = bounds.optimum_lower_bound(average_loss, self._linear_regret(scope), self._steps)
        return self._named(bound, scope)

    def distance_travelled(self, scope="network"):
        """Returns the largest Euclidean distance `||W^n - W^1||` over the rounds tracked.

        This is R where `radius` is `None`.

        Args:
            scope: `"network"`, `"layers"`, `"units"`, `"layer:<key>"` or `"unit:<key>/<n>"`.

        Returns:
            A scalar for the network, one layer or one unit; `{layer: scalar}`; or
            `{layer: (units,)}`.

        Raises:
            ValueError: if the optimizer is not built or there is no such scope.

        Example:

        >>> optimizer = RegretTracker(keras.optimizers.SGD(1.0))
        >>> weight = keras.Variable([1.0, 1.0], name="w")
        >>> for _ in range(3):  # the third round begins two updates of length 5 away
        ...     optimizer.apply([np.array([3.0, -4.0], "float32")], [weight])
        >>> float(optimizer.distance_travelled())
        10.0
        """
        kind = self._kind(scope)
        return self._named(self._sums.distances(kind), scope)

    def snr(self, scope="network", of="gradients"):
        """Returns quantiles of the signal-to-noise ratio of coordinates over the rounds tracked.

        For each coordinate the ratio is `|sum_n g^n| / sqrt(N sum_n (g^n)^2)`, from 0 (noise) to
        1 (the same value in each round). It is 0 for a coordinate whose values are all zero.

        Args:
            scope: `"network"`, `"layers"`, `"units"`, `"layer:<key>"` or `"unit:<key>/<n>"`.
            of: `"gradients"`, as the tracker reads them, or `"updates"` of the weights.

        Returns:
            The quantiles 5, 25, 50, 75 and 95 % over the coordinates of a part: `(5,)` for the
            network, one layer or one unit; `{layer: (5,)}`; or `{layer: (units, 5)}`.

        Raises:
            ValueError: if the optimizer was made without `track_snr` or is not built, or there is
                no such scope or kind.

        Example:

        >>> optimizer = RegretTracker(keras.optimizers.SGD(1.0), track_snr=True)
        >>> weight = keras.Variable([1.0], name="w")
        >>> for gradient in (1.0, 1.0, 1.0, -1.0):
        ...     optimizer.apply([np.array([gradient], "float32")], [weight])
        >>> float(optimizer.snr()[2])
        0.5
        """
        self._kind(scope)
        sums = self._sums
        if sums.noise is None:
            raise ValueError(
                f"{self.name} does not keep what the ratio needs: make it with track_snr=True"
            )
        ratios = sums.noise.ratios(of, sums.gradient_sums, self._steps)
        ratios = [self._out(ratio) for ratio in self._scopes.tensors(ratios)]
        return signal_to_noise.quantiles(self._scopes, ratios, scope)

    def start_tracking(self):
        """Sets all sums to zero and takes the weights of the next round as `W^1`.

        Call it after a burn-in: then the sums are about the rounds that follow. The radius, if it
        is `None`, is measured from the new `W^1`.
        """
        sums = self._sums.variables() if self.built else []
        for variable in [self._steps, self._skipped_steps, self._loss_sum, *sums]:
            variable.assign(ops.zeros(variable.shape, variable.dtype))

    def scale_loss(self, loss):
        self._loss_by_thread[threading.get_ident()] = loss
        return super().scale_loss(loss)

    def before_update(self, gradients, variables):
        loss = self._loss_by_thread.pop(threading.get_ident(), None)
        is_known = loss is not None and backend.is_reachable(loss)
        loss = ops.cast(loss if is_known else float("nan"), bounds.SUM_DTYPE)
        tensors = backend.sum_over_replicas(self._comparable(gradients, variables))
        (loss,) = backend.sum_over_replicas([loss])
        recorded = self._record(self._scopes.matrices(tensors), loss, is_known)
        if self.track_snr:
            self._round_by_thread[threading.get_ident()] = recorded
        return gradients

    def after_update(self):
        if not self.track_snr:
            return
        gradients, weights, is_finite = self._round_by_thread.pop(threading.get_ident())
        updates = [after - before for after, before in zip(self._weights(), weights, strict=True)]
        ops.cond(is_finite, lambda: self._sums.noise.add(gradients, updates), lambda: None)

    def get_config(self):
        own = {"radius": self.radius, "track_snr": self.track_snr}
        return super().get_config() | own

    def _comparable(self, gradients, variables):
        """Returns the gradients as dense tensors without loss scale, one for each variable tracked.

        A variable without a gradient gets zeros.
        """
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
        """Adds a round to the sums if it is finite; returns gradients, weights and whether it is.

        Args:
            gradients: The gradients as matrices.
            loss: The loss, NaN if it is not known.
            loss_is_known: Whether the loss has to be finite.
        """
        weights = self._weights()
        is_first = ops.equal(self._steps + self._skipped_steps, 0)
        ops.cond(is_first, lambda: self._sums.set_first_weights(weights), lambda: None)
        terms = self._sums.terms(gradients, weights)
        # The inner product with a gradient that is not finite is not finite, even if W^n = W^1.
        total = ops.sum(terms[0] + terms[1])
        is_finite = ops.isfinite(total + loss if loss_is_known else total)

        def add():
            self._steps.assign_add(1)
            self._loss_sum.assign_add(loss)
            self._sums.add(gradients, *terms)

        def skip():
            self._skipped_steps.assign_add(1)

        ops.cond(is_finite, add, skip)
        return gradients, weights, is_finite

    def _weights(self):
        """Returns the present weights as matrices; with `track_snr`, updates do not change them."""
        variables = [self._trainable_variables[index] for index in self._tracked_indices]
        values = backend.snapshot(variables) if self.track_snr else variables
        return self._scopes.matrices([ops.cast(v, self._dtype) for v in values])

    def _linear_regret(self, scope, comparator=None):
        """Returns linear regret of all parts of the scope's kind, in float64."""
        kind = self._kind(scope)
        if comparator is None:
            return self._sums.linear_regret(kind, self.radius)
        self._scopes.check_shapes(comparator, "comparator")
        return self._sums.linear_regret_against(kind, comparator)

    def _kind(self, scope):
        """Returns the kind of a scope; raises unless the optimizer is built and has the scope."""
        check_scope(scope)
        if not self.built:
            raise ValueError(
                f"{self.name} is not built yet and has tracked nothing: train a step, or call "
                "`optimizer.build(model.trainable_variables)`"
            )
        return self._scopes.locate(scope)[0]

    def _add_variable(self, shape, name, dtype):
        return self.add_variable(shape, dtype=dtype, name=name)

    def _named(self, values, scope):
        return self._scopes.named(self._out(values), scope)

    def _out(self, values):
        return ops.cast(values, self._dtype if self.built else keras.config.floatx())


def tracker_of(optimizer):
    """Returns the `RegretTracker` that an optimizer is or wraps at any depth, or `None`."""
    return next((inner for inner in wrapped(optimizer) if isinstance(inner, RegretTracker)), None)


def latest_tracker(name):
    """Returns the tracker with this name that was made last and still exists, or `None`."""
    return _latest.get(name)


def _widest(dtypes):
    return "float64" if "float64" in set(dtypes) else "float32"
