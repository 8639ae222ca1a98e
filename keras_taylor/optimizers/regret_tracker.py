"""An optimizer wrapper that tracks linear regret while a model trains."""

import functools
import threading
import warnings
import weakref

import keras
import tensorflow as tf
from keras import ops

from keras_taylor import backend
from keras_taylor.optimizers.regret_readings import RegretReadings
from keras_taylor.optimizers.wrapper import wrapped
from keras_taylor.tracking.linear_regret import SUM_DTYPE
from keras_taylor.tracking.sparse_rows import TouchedRows

# The latest tracker of each name. A saved metric uses it to find the tracker that was loaded first.
_latest = weakref.WeakValueDictionary()


@keras.saving.register_keras_serializable(package="keras_taylor")
class RegretTracker(RegretReadings):
    """Wraps an optimizer and bounds its Taylor regret from the gradients that pass through.

    Training is the same as with the inner optimizer alone, to the bit. Let `W^n`, `g^n` and `l^n`
    be the weights, the gradient and the loss of round n. From streaming sums over the N rounds
    tracked, the tracker gives for the network, each layer and each unit

        linear_regret       = sum_n <g^n, W^n - W^1> + R ||sum_n g^n||
        optimum_lower_bound = average_loss - linear_regret / N
        guarantee           = R sqrt(sum_n ||g^n||^2)
        relative_regret     = linear_regret / guarantee
        step_ratio          = max_n ||W^n - W^1|| / sqrt(sum_n ||W^(n+1) - W^n||^2)

    Linear regret is an upper bound of the Taylor regret against every comparator within R of
    `W^1`. The second value is a lower bound of the Taylor optimum within R of `W^1`. The loss
    includes regularisation. The last three tell whether the step fits (for an optimizer with
    momentum m, the step ratio is also divided by `sqrt((1 + m) / (1 - m))`).

    A loss whose `reduction` is `None` counts as the sum of its entries, which is what Keras takes
    gradients of. An empty batch is no round where its loss shows it (eagerly, or with a static
    shape); in a graph with an open batch size, Keras makes a loss of zero of it, which counts.

    A round is one call of `apply`; with gradient accumulation, that is one microbatch. The tracker
    reads gradients before clipping and weight decay, without the loss scale, and summed over
    replicas. If a gradient or the loss of a round is not finite, the round is left out and counted
    in `skipped_steps`.

    Gradients are taken at the weights. If a method takes them elsewhere (sharpness-aware
    minimisation, extragradient, lookahead points), say where with `gradient_point`; else linear
    regret and the lower bound do not hold.

    The tracker sees the loss in `scale_loss`, which `fit` calls. In a custom loop, call
    `loss = optimizer.scale_loss(loss)` once before each `apply`. Without the loss, `average_loss`
    and `optimum_lower_bound` are NaN, which a warning says once, while linear regret is not
    affected. The loss is missing, too, if a `LossScaleOptimizer` is around the tracker, because it
    does not pass the loss on; `keras_taylor.optimizers.LossScaled` does. (Under mixed_float16,
    `compile` puts the former around whatever is neither. Both skip rounds that are not finite by
    themselves, and these are not counted in `skipped_steps`.)

    With `every=k`, only the rounds 1, k + 1, 2k + 1, ... are in the sums, and all of the above is
    about these rounds n and their number N: linear regret and average loss are theirs, and the
    lower bound is one of the Taylor optimum over them, which is that of the run as far as they
    stand for it. The bound is looser: of `||sum_n g^n||`, what is noise falls by sqrt(k) where the
    rest falls by k. The guarantee and the step ratio are the estimates of what all rounds would
    give, `R sqrt(sum_n ||g^n||^2 / k)` beside linear regret (both are then about 1/k of that of all
    rounds) and `max_n ||W^n - W^1|| / sqrt(k sum_n ||W^(n+1) - W^n||^2)`. Rounds that are passed
    over are not looked at, and not counted in `skipped_steps`. `diagnose` needs `every=1`.

    Memory: three copies of the weights, for the first of them and the sums of gradients; with
    `track_snr` three more in float64. With `track_step_ratio`, another copy of the weights for the
    length of a step, or for good with `every` above 1.

    Args:
        inner_optimizer: The Keras optimizer that trains: an object, a name or a configuration.
        radius: R, the same for every part. With `None`, R is for each part the largest distance
            `||W^n - W^1||` in the rounds tracked, so that all its iterates are comparators.
        track_snr: Whether to keep the sums that `snr` needs.
        track_step_ratio: Whether to keep the sum that `step_ratio` needs.
        momentum: The momentum m, from 0 up to but not 1, that `step_ratio` divides out. With `None`
            it is the optimizer's own: `momentum` of SGD and RMSprop, `beta_1` of Adam and its kin.
        every: k, for sums over one round in k, which cost about a k-th. 1 for all rounds.
        name: The name of the optimizer.

    Raises:
        ValueError: if the radius is not a positive number, the momentum is not from 0 up to but not
            1, `every` is not a positive integer, or the inner optimizer is or holds a
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

    def __init__(
        self,
        inner_optimizer,
        radius=None,
        track_snr=False,
        track_step_ratio=True,
        momentum=None,
        every=1,
        name=None,
    ):
        super().__init__(
            inner_optimizer, radius, track_snr, track_step_ratio, momentum, every, name
        )
        # Under `tf.distribute`, each replica runs a round in its own thread.
        self._loss_by_thread, self._round_by_thread, self._point_by_thread = {}, {}, {}
        self._has_missed_loss = False
        _latest[self.name] = self

    def scale_loss(self, loss):
        self._loss_by_thread[threading.get_ident()] = loss
        return super().scale_loss(loss)

    def gradient_point(self, point):
        """Says where the next gradient is taken, if that is not at the weights.

        The round is then about that point P: `<g, P - W^1>` is summed, and R covers P. Call it once
        before `apply`, in a graph or not; `scale_loss` takes the loss at P.

        Args:
            point: Tensors like the variables that the optimizer was built for, in their order.

        Raises:
            ValueError: if there is not one tensor of the same shape for each variable.

        Example:

        >>> weight = keras.Variable([1.0], name="w")
        >>> tracker = RegretTracker(keras.optimizers.SGD(0.1))
        >>> tracker.build([weight])
        >>> for _ in range(2):  # the gradient of w^2 at 3
        ...     tracker.gradient_point([np.array([3.0], "float32")])
        ...     tracker.apply([np.array([6.0], "float32")])
        >>> float(tracker.linear_regret())  # 2 * 6 * (3 - 1) + R * 12, R = 3 - 1
        48.0
        """
        shapes = [tuple(variable.shape) for variable in self._trainable_variables]
        found = [tuple(ops.shape(tensor)) for tensor in point]
        if found != shapes:
            raise ValueError(
                f"point must have a tensor for each variable, of shapes {shapes}, received {found}"
            )
        # Copies: tensors of variables would follow them back to the weights.
        self._point_by_thread[threading.get_ident()] = list(map(ops.copy, point))

    def before_update(self, gradients, variables):
        loss = self._loss_by_thread.pop(threading.get_ident(), None)
        point = self._point_by_thread.pop(threading.get_ident(), None)
        # One that was given in another graph belongs to another round.
        point = point if point and all(map(backend.is_reachable, point)) else None
        is_known = loss is not None and backend.is_reachable(loss)
        if not is_known:
            self._tell_of_missing_loss()
        loss = ops.cast(_summed(loss) if is_known else float("nan"), SUM_DTYPE)
        (loss,) = backend.sum_over_replicas([loss])
        touched = self._touched(gradients, variables) if point is None else {}
        read = self._reader(gradients, variables, touched)
        if self.every == 1:
            recorded = *self._record(read(), loss, is_known, point, touched), touched
        else:
            recorded = self._record_when_due(read, loss, is_known, point)
        if self._tracks_updates or touched:
            self._round_by_thread[threading.get_ident()] = recorded
        return gradients

    def _record_when_due(self, read, loss, loss_is_known, point):
        """Adds one round in `every` to the sums; returns gradients, weights and whether it did.

        The gradients are a function of that, the weights before the update are variables.
        """
        is_due = ops.equal(self._passed_rounds % self.every, 0)

        def record():
            _, weights, is_finite = self._record(read(), loss, loss_is_known, point)
            # Variables, because a branch that is not taken would have to return as much.
            for kept, weight in zip(self._weights_before, weights, strict=False):
                kept.assign(weight)
            return is_finite

        is_recorded = ops.cond(is_due, record, lambda: ops.convert_to_tensor(False))
        backend.add_in_place(self._passed_rounds, 1)
        return read, self._weights_before, is_recorded, {}

    def _tell_of_missing_loss(self):
        if self._has_missed_loss:
            return
        self._has_missed_loss = True
        warnings.warn(
            f"{self.name} was not given the loss of a round, without which `average_loss` and "
            "`optimum_lower_bound` are NaN: compile with `keras_taylor.optimizers.LossScaled` "
            "around it under mixed_float16 or in place of a LossScaleOptimizer; in a custom loop, "
            "call `loss = optimizer.scale_loss(loss)` before each `apply`",
            stacklevel=3,
        )

    def after_update(self):
        recorded = self._round_by_thread.pop(threading.get_ident(), None)
        if recorded is None:
            return
        gradients, weights, is_finite, touched = recorded

        def add(gradients):
            after = self._weights(touched)
            if touched:
                self._sums.follow(touched, weights, after, self._all_weights, self._steps)
            if self._tracks_updates:
                self._sums.add_updates(gradients, weights, after, is_finite)

        if self.every == 1:
            add(gradients)
        else:
            ops.cond(is_finite, lambda: add(gradients()), lambda: None)

    def _touched(self, gradients, variables):
        """Returns `{number of a piece: TouchedRows}` of the sparse gradients that are kept so."""
        if not self._tables or backend.replica_count() > 1 or self.loss_scale_factor is not None:
            return {}
        by_index = {
            self._get_variable_index(variable): gradient
            for gradient, variable in zip(gradients, variables, strict=True)
        }
        found = {n: by_index.get(self._tracked_indices[p]) for n, p in self._tables.items()}
        return {n: TouchedRows(g) for n, g in found.items() if isinstance(g, tf.IndexedSlices)}

    def _reader(self, gradients, variables, touched):
        """Returns a function that returns the gradients as matrices, of all replicas together."""
        comparable = self._comparable(gradients, variables)
        for number, rows in touched.items():
            comparable[self._tables[number]] = functools.partial(
                ops.cast, rows.gradient, self._dtype
            )
        if backend.replica_count() == 1:
            return lambda: self._scopes.matrices([make() for make in comparable])
        # Replicas meet outside of conditions.
        tensors = backend.sum_over_replicas([make() for make in comparable])
        return lambda: self._scopes.matrices(tensors)

    def _comparable(self, gradients, variables):
        """Returns, for each variable tracked, a function that makes its gradient comparable.

        That is a dense tensor without loss scale; zeros for a variable without a gradient.
        """
        by_index = {
            self._get_variable_index(variable): gradient
            for gradient, variable in zip(gradients, variables, strict=True)
            if gradient is not None
        }
        return [
            self._unscaled(by_index[index])
            if index in by_index
            else functools.partial(ops.zeros, self._trainable_variables[index].shape, self._dtype)
            for index in self._tracked_indices
        ]

    def _unscaled(self, gradient):
        observe = backend.observer(gradient)

        def make():
            dense = ops.cast(backend.densify(observe()), self._dtype)
            scale = self.loss_scale_factor
            return dense if scale is None else dense / scale

        return make

    def _record(self, gradients, loss, loss_is_known, point=None, touched=None):
        """Adds a round to the sums if it is finite; returns gradients, weights and whether it is.

        Args:
            gradients: The gradients as matrices.
            loss: The loss, NaN if it is not known.
            loss_is_known: Whether the loss has to be finite.
            point: Where the gradient was taken, if not at the weights.
            touched: Rows of sparse gradients, from `_touched`.
        """
        touched = touched or {}
        weights = self._weights(touched)
        points = weights if point is None else self._matrices(point)
        is_first = ops.equal(self._steps + self._skipped_steps, 0)
        first = self._all_weights if touched else lambda: weights
        ops.cond(is_first, lambda: self._sums.set_first_weights(first()), lambda: None)
        terms = self._sums.terms(gradients, points, touched)
        # A gradient that is not finite makes its own terms so. Squares that overflow count as such.
        total = ops.sum(terms)
        is_finite = ops.isfinite(total + loss if loss_is_known else total)

        def add():
            backend.add_in_place(self._steps, 1)
            backend.add_in_place(self._loss_sum, loss)
            self._sums.add(gradients, terms, self._steps, touched)

        def skip():
            backend.add_in_place(self._skipped_steps, 1)
            number = (self._steps + self._skipped_steps - 1) * self.every + 1
            self._sums.skip(number, terms)

        ops.cond(is_finite, add, skip)
        return gradients, weights, is_finite

    def _weights(self, touched=()):
        """Returns the present weights as matrices, which updates do not change if these matter.

        Of some pieces they are the rows touched.
        """
        tables = {self._tables[number]: touched[number] for number in touched}
        variables = [self._trainable_variables[index] for index in self._tracked_indices]
        return self._cut(
            [
                tables[place].of(variable.value)
                if place in tables
                else (backend.snapshot([variable])[0] if self._tracks_updates else variable)
                for place, variable in enumerate(variables)
            ]
        )

    def _all_weights(self):
        """Returns the present weights as matrices."""
        return self._cut([self._trainable_variables[index] for index in self._tracked_indices])

    def _matrices(self, tensors):
        """Returns tensors like all variables as matrices of those that are tracked."""
        return self._cut([tensors[index] for index in self._tracked_indices])

    def _cut(self, values):
        return self._scopes.matrices([ops.cast(value, self._dtype) for value in values])


def _summed(loss):
    """Returns a loss as the number that gradients are of: that of a batch, or a sum of examples'.

    NaN for a batch without examples, whose loss Keras leaves as an empty tensor.
    """
    if not ops.ndim(loss):
        return loss
    has_examples = ops.size(loss) > 0
    return ops.where(has_examples, ops.sum(loss), float("nan"))


def tracker_of(optimizer):
    """Returns the `RegretTracker` that an optimizer is or wraps at any depth, or `None`."""
    return next((inner for inner in wrapped(optimizer) if isinstance(inner, RegretTracker)), None)


def latest_tracker(name):
    """Returns the tracker with this name that was made last and still exists, or `None`."""
    return _latest.get(name)
