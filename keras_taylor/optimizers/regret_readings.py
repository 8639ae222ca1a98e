"""What a regret tracker tells of regret: bounds of it and of the optimum, and the guarantee."""

from keras_taylor.optimizers.step_readings import StepReadings
from keras_taylor.tracking import linear_regret as bounds
from keras_taylor.tracking.guarantee import relative_regret


class RegretReadings(StepReadings):
    """Base of `RegretTracker`; abstract. Reads regret and bounds from the sums over rounds."""

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
        With `every=k` it is `R_s sqrt(sum_n ||g_s^n||^2 / k)` over the rounds in the sums: what all
        rounds would give, divided by k, as linear regret is.

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
        # Its share that linear regret has of that of all rounds.
        return self._sums.guarantee(kind, self.radius) / self.every**0.5
