"""What a regret tracker tells: bounds and averages, from the sums that it keeps."""

import keras
from keras import ops

from keras_taylor.optimizers.wrapper import OptimizerWrapper, momentum_of
from keras_taylor.tracking import linear_regret as bounds
from keras_taylor.tracking import signal_to_noise
from keras_taylor.tracking.guarantee import relative_regret
from keras_taylor.tracking.regret_sums import RegretSums
from keras_taylor.tracking.step_ratio import step_ratio
from keras_taylor.weights.arguments import check_momentum, check_radius
from keras_taylor.weights.scopes import Scopes, check_scope


class RegretReadings(OptimizerWrapper):
    """Base of `RegretTracker`; abstract. Has the sums over rounds and reads bounds from them.

    The subclass adds rounds to the sums, in `before_update` and `after_update`.

    Args:
        inner_optimizer: The Keras optimizer that trains.
        radius: R, the same for every part, or `None` for the distance that each part travelled.
        track_snr: Whether to keep the sums that `snr` needs.
        track_step_ratio: Whether to keep the sum that `step_ratio` needs.
        momentum: The momentum that `step_ratio` divides out; `None` for the optimizer's own.
        name: The name of the optimizer.

    Raises:
        ValueError: if the radius is not a positive number, the momentum is not from 0 up to but not
            1, or the inner optimizer cannot be wrapped.
    """

    def __init__(
        self,
        inner_optimizer,
        radius=None,
        track_snr=False,
        track_step_ratio=True,
        momentum=None,
        name=None,
    ):
        check_radius(radius)
        check_momentum(momentum)
        super().__init__(inner_optimizer, name=name)
        self.radius = None if radius is None else float(radius)
        self.track_snr, self.track_step_ratio = bool(track_snr), bool(track_step_ratio)
        self.momentum = None if momentum is None else float(momentum)
        self._scopes = self._sums = None
        self._steps = self._add_variable((), "steps", "int64")
        self._skipped_steps = self._add_variable((), "skipped_steps", "int64")
        self._loss_sum = self._add_variable((), "loss", bounds.SUM_DTYPE)

    def build(self, variables):
        if not self.is_due(variables):
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
        self._sums = RegretSums(
            self._add_variable, self._scopes, self._dtype, self.track_snr, self.track_step_ratio
        )
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

        >>> optimizer = keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(0.1), radius=2.0)
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

        >>> optimizer = keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(0.1), radius=2.0)
        >>> weight = keras.Variable([1.0, 1.0], name="w")
        >>> loss = optimizer.scale_loss(15.0)
        >>> optimizer.apply([np.array([3.0, -4.0], "float32")], [weight])
        >>> float(optimizer.optimum_lower_bound())
        5.0
        """
        average_loss = bounds.average(self._loss_sum, self._steps)
        bound = bounds.optimum_lower_bound(average_loss, self._linear_regret(scope), self._steps)
        return self._named(bound, scope)

    def guarantee(self, scope="network"):
        """Returns the cumulative convergence guarantee, `R_s sqrt(sum_n ||g_s^n||^2)`.

        Linear regret of plain SGD is at most this if its step is tuned to the number of rounds; for
        other optimizers it is a yardstick. It grows like the square root of the number of rounds.

        Args:
            scope: `"network"`, `"layers"`, `"units"`, `"layer:<key>"` or `"unit:<key>/<n>"`.

        Returns:
            A scalar for the network, one layer or one unit; `{layer: scalar}`; or
            `{layer: (units,)}`. A sum over the rounds tracked, in units of the loss.

        Raises:
            ValueError: if the optimizer is not built or there is no such scope.

        Example:

        >>> optimizer = keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(0.1), radius=2.0)
        >>> weight = keras.Variable([1.0, 1.0], name="w")
        >>> optimizer.apply([np.array([3.0, -4.0], "float32")], [weight])
        >>> float(optimizer.guarantee())
        10.0

        Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; the
        form is a reconstruction, see `keras_taylor.tracking.guarantee`.
        """
        return self._named(self._guarantee(scope), scope)

    def relative_regret(self, scope="network"):
        """Returns `linear_regret / guarantee`: without a unit, comparable over parts and tasks.

        About 1 for a well tuned SGD, far above 1 for a badly tuned one; below 1 is better than the
        guarantee promises.

        Args:
            scope: `"network"`, `"layers"`, `"units"`, `"layer:<key>"` or `"unit:<key>/<n>"`.

        Returns:
            A scalar for the network, one layer or one unit; `{layer: scalar}`; or
            `{layer: (units,)}`. NaN for a part that did not move or got no gradient.

        Raises:
            ValueError: if the optimizer is not built or there is no such scope.

        Example:

        >>> optimizer = keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(0.1), radius=2.0)
        >>> weight = keras.Variable([1.0, 1.0], name="w")
        >>> optimizer.apply([np.array([3.0, -4.0], "float32")], [weight])
        >>> float(optimizer.relative_regret())
        1.0

        Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; the
        measure is a reconstruction.
        """
        values = relative_regret(self._linear_regret(scope), self._guarantee(scope))
        return self._named(values, scope)

    def step_ratio(self, scope="network"):
        """Returns whether steps agree with each other: the distance travelled over their length.

        `max_n ||W^n - W^1|| / sqrt(sum_n ||W^(n+1) - W^n||^2) / sqrt((1 + m) / (1 - m))`, with the
        momentum m. About 1 to 2 the step fits; far above, longer steps would have paid; below 1,
        steps undo each other.

        Args:
            scope: `"network"`, `"layers"`, `"units"`, `"layer:<key>"` or `"unit:<key>/<n>"`.

        Returns:
            A scalar for the network, one layer or one unit; `{layer: scalar}`; or
            `{layer: (units,)}`. NaN for a part that did not move.

        Raises:
            ValueError: if the optimizer was made without `track_step_ratio` or is not built, or
                there is no such scope.

        Example:

        >>> optimizer = keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(1.0))
        >>> weight = keras.Variable([1.0, 1.0], name="w")
        >>> for _ in range(5):  # five updates of length 5; the fifth round begins 20 away
        ...     optimizer.apply([np.array([3.0, -4.0], "float32")], [weight])
        >>> round(float(optimizer.step_ratio()), 3)  # 20 / sqrt(5 * 25)
        1.789

        Source: reconstruction, see `keras_taylor.tracking.step_ratio`.
        """
        kind, sums = self._kind(scope), self._sums
        if sums.squared_updates is None:
            raise ValueError(
                f"{self.name} does not keep what the ratio needs: make it with "
                "track_step_ratio=True"
            )
        momentum = momentum_of(self) if self.momentum is None else self.momentum
        updates = self._scopes.totals(ops.convert_to_tensor(sums.squared_updates), kind)
        return self._named(step_ratio(sums.distances(kind), updates, momentum), scope)

    def gradient_agreement(self, scope="network"):
        """Returns whether gradients agree with each other: `||sum_n g^n|| / sqrt(sum_n ||g^n||^2)`.

        About 1 gradients are as those of a random walk and the step fits; far above, up to the root
        of the number of rounds, longer steps would have paid; below, gradients undo each other. It
        means the same for every optimizer.

        Args:
            scope: `"network"`, `"layers"`, `"units"`, `"layer:<key>"` or `"unit:<key>/<n>"`.

        Returns:
            A scalar for the network, one layer or one unit; `{layer: scalar}`; or
            `{layer: (units,)}`. NaN for a part without a gradient.

        Raises:
            ValueError: if the optimizer is not built or there is no such scope.

        Example:

        >>> optimizer = keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(1.0))
        >>> weight = keras.Variable([1.0, 1.0], name="w")
        >>> for _ in range(4):
        ...     optimizer.apply([np.array([3.0, -4.0], "float32")], [weight])
        >>> float(optimizer.gradient_agreement())  # 20 / sqrt(4 * 25)
        2.0

        Source: reconstruction, see `keras_taylor.tracking.gradient_agreement`.
        """
        kind = self._kind(scope)
        return self._named(self._sums.gradient_agreement(kind), scope)

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

        >>> optimizer = keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(1.0))
        >>> weight = keras.Variable([1.0, 1.0], name="w")
        >>> for _ in range(3):  # the third round begins two updates of length 5 away
        ...     optimizer.apply([np.array([3.0, -4.0], "float32")], [weight])
        >>> float(optimizer.distance_travelled())
        10.0
        """
        kind = self._kind(scope)
        return self._named(self._sums.distances(kind), scope)

    def gradient_norm(self, scope="network"):
        """Returns the root mean square of the gradient's norm, `sqrt(sum_n ||g_s^n||^2 / N)`.

        Args:
            scope: `"network"`, `"layers"`, `"units"`, `"layer:<key>"` or `"unit:<key>/<n>"`.

        Returns:
            A scalar for the network, one layer or one unit; `{layer: scalar}`; or
            `{layer: (units,)}`. NaN before the first round.

        Raises:
            ValueError: if the optimizer is not built or there is no such scope.

        Example:

        >>> optimizer = keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(1.0))
        >>> weight = keras.Variable([1.0, 1.0], name="w")
        >>> optimizer.apply([np.array([3.0, -4.0], "float32")], [weight])
        >>> float(optimizer.gradient_norm())
        5.0
        """
        kind = self._kind(scope)
        return self._named(self._sums.gradient_norms(kind, self._steps), scope)

    def first_skipped(self):
        """Returns which round was the first to be left out, and the layers to blame.

        A layer is to blame if its gradient was not finite, or too large to square. There is none
        where only the loss was not finite. Where the forward pass gave what is not finite, most
        layers' gradients usually are that, too.

        Returns:
            `None` if no round was left out; else a dictionary with `round`, its number since
            tracking started, and `layers`, a list of their keys.

        Raises:
            ValueError: if the optimizer is not built.

        Example:

        >>> optimizer = keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(1.0))
        >>> weight = keras.Variable([1.0, 1.0], name="w")
        >>> for gradient in (3.0, np.inf):
        ...     optimizer.apply([np.array([gradient, 1.0], "float32")], [weight])
        >>> optimizer.first_skipped()
        {'round': 2, 'layers': ['w']}
        """
        self._kind("network")
        round, not_finite = self._sums.first_skipped()
        if not int(round):
            return None
        pairs = zip(self._scopes.layers, ops.convert_to_numpy(not_finite), strict=True)
        return {"round": int(round), "layers": [layer for layer, is_so in pairs if is_so]}

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

        >>> optimizer = keras_taylor.optimizers.RegretTracker("sgd", track_snr=True)
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

    def get_config(self):
        names = ("radius", "track_snr", "track_step_ratio", "momentum")
        own = {name: getattr(self, name) for name in names}
        return super().get_config() | own

    def _linear_regret(self, scope, comparator=None):
        """Returns linear regret of all parts of the scope's kind, in float64."""
        kind = self._kind(scope)
        if comparator is None:
            return self._sums.linear_regret(kind, self.radius)
        self._scopes.check_shapes(comparator, "comparator")
        return self._sums.linear_regret_against(kind, comparator)

    def _guarantee(self, scope):
        """Returns the guarantee of all parts of the scope's kind, in float64."""
        kind = self._kind(scope)
        return self._sums.guarantee(kind, self.radius)

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
        if name in {variable.name for variable in self._variables}:
            # .h5 files need names that differ.
            name = f"{name}_{len(self._variables)}"
        return self.add_variable(shape, dtype=dtype, name=name)

    def _named(self, values, scope):
        return self._scopes.named(self._out(values), scope)

    def _out(self, values):
        return ops.cast(values, self._dtype if self.built else keras.config.floatx())


def _widest(dtypes):
    return "float64" if "float64" in set(dtypes) else "float32"
