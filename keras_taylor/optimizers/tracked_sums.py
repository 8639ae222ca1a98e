"""The sums over rounds that a tracker keeps, as an optimizer that wraps another one."""

import keras
from keras import ops

from keras_taylor.optimizers.wrapper import OptimizerWrapper
from keras_taylor.tracking import linear_regret as bounds
from keras_taylor.tracking.regret_sums import RegretSums
from keras_taylor.tracking.sparse_rows import moves_touched_rows_only
from keras_taylor.weights.arguments import check_momentum, check_radius, is_whole
from keras_taylor.weights.scope_names import parsed
from keras_taylor.weights.scopes import Scopes


class TrackedSums(OptimizerWrapper):
    """Base of `RegretTracker`; abstract. Makes the sums over rounds, and starts them again.

    A subclass adds rounds to the sums, in `before_update` and `after_update`; others read them.

    Args:
        inner_optimizer: The Keras optimizer that trains.
        radius: R, the same for every part, or `None` for the distance that each part travelled.
        track_snr: Whether to keep the sums that `snr` needs.
        track_step_ratio: Whether to keep the sum that `step_ratio` needs.
        momentum: The momentum that `step_ratio` divides out; `None` for the optimizer's own.
        every: k, where one round in k is in the sums.
        name: The name of the optimizer.

    Raises:
        ValueError: if the radius is not a positive number, the momentum is not from 0 up to but not
            1, `every` is not a positive integer, or the inner optimizer cannot be wrapped.
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
        check_radius(radius)
        check_momentum(momentum)
        if not is_whole(every) or every < 1:
            raise ValueError(f"every must be a positive integer, received {every!r}")
        super().__init__(inner_optimizer, name=name)
        self.radius = None if radius is None else float(radius)
        self.track_snr, self.track_step_ratio = bool(track_snr), bool(track_step_ratio)
        self.momentum = None if momentum is None else float(momentum)
        self.every = int(every)
        # How often tracking started, for callers that keep something about the rounds tracked.
        self.start_count = 0
        self._scopes = self._sums = None
        self._steps = self._add_variable((), "steps", "int64")
        self._skipped_steps = self._add_variable((), "skipped_steps", "int64")
        self._loss_sum = self._add_variable((), "loss", bounds.SUM_DTYPE)
        self._passed_rounds, self._weights_before = None, []
        if self.every > 1:
            # All rounds, in the sums or not.
            self._passed_rounds = self._add_variable((), "passed_rounds", "int64")

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
        self._tables = self._numbers_of_tables(tracked)
        options = self.track_snr, self.track_step_ratio, list(self._tables)
        self._sums = RegretSums(self._add_variable, self._scopes, self._dtype, *options)
        if self.every > 1 and self._tracks_updates:
            self._weights_before = [
                self._add_variable(shape, "weights_before", self._dtype)
                for shape in self._sums.shapes
            ]
        super().build(variables)

    def _numbers_of_tables(self, tracked):
        """Returns `{number of a piece: place of its weight}` of those with sparse sums."""
        if self.every > 1 or self.track_snr:
            return {}
        return {
            number: piece.weights[0]
            for number, piece in enumerate(self._scopes.pieces)
            if len(piece.weights) == 1
            and len(tracked[piece.weights[0]].shape) == 2
            and piece.rows > 1
            and moves_touched_rows_only(self.inner_optimizer, tracked[piece.weights[0]])
        }

    @property
    def _tracks_updates(self):
        return self.track_snr or self.track_step_ratio

    @property
    def steps(self):
        """N, the number of rounds in the sums, a scalar integer tensor."""
        return self._steps + 0

    @property
    def skipped_steps(self):
        """The number of rounds left out because a gradient or the loss was not finite."""
        return self._skipped_steps + 0

    @property
    def average_loss(self):
        """The mean of the loss over the rounds in the sums, a scalar; NaN before the first one."""
        return self._out(bounds.average(self._loss_sum, self._steps))

    def start_tracking(self):
        """Sets all sums to zero and takes the weights of the next round as `W^1`.

        Call it after a burn-in: then the sums are about the rounds that follow. The radius, if it
        is `None`, is measured from the new `W^1`.
        """
        sums = self._sums.variables() if self.built else []
        counts = [self._steps, self._skipped_steps]
        counts += [] if self._passed_rounds is None else [self._passed_rounds]
        for variable in [*counts, self._loss_sum, *sums]:
            variable.assign(ops.zeros(variable.shape, variable.dtype))
        self.start_count += 1

    def start_again(self):
        self.start_tracking()

    def get_config(self):
        names = ("radius", "track_snr", "track_step_ratio", "momentum", "every")
        own = {name: getattr(self, name) for name in names}
        return super().get_config() | own

    def _kind(self, scope):
        """Returns the kind of a scope; raises unless the optimizer is built and has the scope."""
        # A name that is none is refused as such, built or not.
        parsed(scope)
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
