"""What a regret tracker tells of a run's steps and gradients, from the sums that it keeps."""

from keras import ops

from keras_taylor.optimizers.tracked_sums import TrackedSums
from keras_taylor.optimizers.wrapper import momentum_of
from keras_taylor.tracking import signal_to_noise
from keras_taylor.tracking.step_ratio import step_ratio


class StepReadings(TrackedSums):
    """Base of `RegretTracker`; abstract. Tells how far a run went and whether its steps agree."""

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
        # Rounds that were passed over count as those that are in the sum.
        squares = self.every * ops.convert_to_tensor(sums.squared_updates)
        updates = self._scopes.totals(squares, kind)
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
