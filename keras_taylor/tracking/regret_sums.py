"""The sums over rounds that linear regret, the guarantee and the step ratio come from.

With weights `W^n` and gradient `g^n` of round n, these are, over the rounds n so far:

    inner products      sum_n <g_u^n, W_u^n - W_u^1>      for each unit u
    squared norms       sum_n ||g_u^n||^2                 for each unit u
    squared updates     sum_n ||W_u^(n+1) - W_u^n||^2     for each unit u, where asked for
    gradient sums       sum_n g^n                         for each weight
    squared distances   max_n ||W_s^n - W_s^1||^2         for each part s: network, layer, unit

and of the first round that was left out its number, and which layers' gradients were not finite.
"""

from keras import ops

from keras_taylor import backend
from keras_taylor.tracking import linear_regret as bounds
from keras_taylor.tracking.gradient_agreement import gradient_agreement
from keras_taylor.tracking.gradient_sums import RECENT_ROUNDS, GradientSums
from keras_taylor.tracking.guarantee import guarantee
from keras_taylor.tracking.signal_to_noise import SignalToNoiseSums


class RegretSums:
    """The sums over rounds, and `W^1`, as variables.

    Gradients and weights come as matrices, one for each piece of the `Scopes`.

    Args:
        add_variable: Function of a shape, a name and a dtype that returns a variable of zeros.
        scopes: The `keras_taylor.weights.scopes.Scopes` that cut the weights.
        dtype: The dtype of the weights. Sums are float64, those of gradients as precise as
            `keras_taylor.tracking.gradient_sums` makes them, or float64 with `track_snr`.
        track_snr: Whether to make the sums for signal-to-noise ratios, too.
        track_updates: Whether to make the sum of squared updates, too.
        tables: Numbers of the pieces whose gradients may be sparse, see
            `keras_taylor.tracking.sparse_rows`.

    Attributes:
        shapes: The shapes of the matrices.
        noise: A `SignalToNoiseSums`, or `None`.
        squared_updates: `sum_n ||W_u^(n+1) - W_u^n||^2`, a variable `(unit_count,)`, or `None`.
    """

    def __init__(
        self, add_variable, scopes, dtype, track_snr=False, track_updates=False, tables=()
    ):
        def add_sum(shape, name):
            return add_variable(shape, name, bounds.SUM_DTYPE)

        self.shapes = shapes = [(piece.rows, sum(piece.columns)) for piece in scopes.pieces]
        self._scopes = scopes
        # The order of these variables is the order in saved optimizers.
        self._first_weights = [add_variable(shape, "first_weights", dtype) for shape in shapes]
        # A variance is a small difference of large sums.
        precise = bounds.SUM_DTYPE if track_snr else dtype
        self._gradient_sums = GradientSums(add_variable, shapes, precise)
        self.noise = SignalToNoiseSums(add_sum, shapes) if track_snr else None
        # One variable for several sums: each operation costs more than the arithmetic on it.
        self._unit_sums = add_sum((2, scopes.unit_count), "unit_sum")
        self._part_counts = {"network": 1, "layers": len(scopes.layers), "units": scopes.unit_count}
        self._squared_distances = add_sum((sum(self._part_counts.values()),), "squared_distance")
        self._first_skipped_step = add_variable((), "first_skipped_step", "int64")
        self._not_finite = add_variable((len(scopes.layers),), "not_finite", "bool")
        self.squared_updates = None
        if track_updates:
            self.squared_updates = add_sum((scopes.unit_count,), "squared_update")
        # `||W_u^n - W_u^1||^2` of the present weights of tables.
        self._table_distances = {
            number: add_sum((shapes[number][1],), "table_distance") for number in tables
        }

    def variables(self):
        """Returns the variables that are zero before the first round; `W^1` is not among them."""
        return [
            *self._gradient_sums.variables(),
            self._unit_sums,
            self._squared_distances,
            self._first_skipped_step,
            self._not_finite,
            *(() if self.squared_updates is None else (self.squared_updates,)),
            *(self.noise.variables() if self.noise is not None else ()),
            *self._table_distances.values(),
        ]

    @property
    def gradient_sums(self):
        """`sum_n g^n`, a list of float64 tensors shaped like the matrices."""
        return self._gradient_sums.values()

    def set_first_weights(self, weights):
        """Takes weights, as matrices, as `W^1`."""
        for variable, weight in zip(self._first_weights, weights, strict=True):
            variable.assign(weight)

    def terms(self, gradients, weights, touched=()):
        """Returns what a round adds for each unit.

        Args:
            gradients: `g^n` as matrices.
            weights: `W^n` as matrices.
            touched: `{number of a piece: TouchedRows}`: of these pieces gradients and weights are
                the rows touched.

        Returns:
            A float64 tensor `(3, unit_count)`: `<g_u^n, W_u^n - W_u^1>`, `||g_u^n||^2` and
            `||W_u^n - W_u^1||^2`.
        """
        displacements = [w - f for w, f in zip(weights, self._first(touched), strict=True)]
        pairs = [(gradients, displacements), (gradients, gradients), (displacements, displacements)]
        found = ops.cast(self._scopes.inner_products(pairs), bounds.SUM_DTYPE)
        for number in touched:
            rest = self._table_distances[number] - _column_squares(displacements[number])
            (weight,) = self._scopes.pieces[number].weights
            begin = self._scopes.first_units[weight]
            after = self._scopes.unit_count - begin - rest.shape[0]
            # Rounding may leave less than nothing.
            found += ops.pad(ops.maximum(rest, 0.0)[None], ((2, 0), (begin, after)))
        return found

    def _first(self, touched):
        """Returns `W^1` as matrices, of some pieces the rows touched."""
        return [
            touched[number].of(first.value) if number in touched else first
            for number, first in enumerate(self._first_weights)
        ]

    def follow(self, touched, before, after, whole, rounds):
        """Follows the distances of tables from `W^1` through an update, of which a few rows change.

        Every `RECENT_ROUNDS` rounds they are computed anew from all rows.

        Args:
            touched: As of `terms`.
            before: The weights before the update as matrices, of tables the rows touched.
            after: Those after it.
            whole: Function without arguments that returns all weights as matrices.
            rounds: The number of rounds, a scalar tensor.
        """
        firsts = self._first(touched)

        def by_rows():
            for number in touched:
                pair = (_column_squares(w[number] - firsts[number]) for w in (after, before))
                backend.add_in_place(self._table_distances[number], next(pair) - next(pair))

        def by_all():
            weights = whole()
            for number in touched:
                moves = weights[number] - self._first_weights[number]
                self._table_distances[number].assign(_column_squares(moves))

        ops.cond(ops.equal(rounds % RECENT_ROUNDS, 0), by_all, by_rows)

    def add(self, gradients, terms, rounds, touched=()):
        """Adds a round.

        Args:
            gradients: `g^n` as matrices.
            terms: Its `terms`.
            rounds: The number of rounds with this one, a scalar tensor.
            touched: As of `terms`.
        """
        backend.add_in_place(self._unit_sums, terms[:2])
        self._gradient_sums.add(gradients, rounds, touched)
        units = terms[2]
        network, layers = ops.sum(units, keepdims=True), self._scopes.totals(units, "layers")
        squares = ops.concatenate([network, layers, units])
        largest = self._squared_distances
        largest.assign(ops.maximum(largest, squares))

    def skip(self, round, terms):
        """Notes the number of a round that is left out, and its `terms`, if it is the first one."""

        def note():
            self._first_skipped_step.assign(round)
            squares = self._scopes.totals(terms[1], "layers")
            self._not_finite.assign(ops.logical_not(ops.isfinite(squares)))

        ops.cond(ops.equal(self._first_skipped_step, 0), note, lambda: None)

    def first_skipped(self):
        """Returns the number of the first round left out, and the layers not finite in it.

        Returns:
            Two tensors: an integer, 0 without such a round, and booleans `(layers,)`.
        """
        return self._first_skipped_step + 0, ops.convert_to_tensor(self._not_finite)

    def gradient_norms(self, kind, rounds):
        """Returns `sqrt(sum_n ||g_s^n||^2 / N)` of each part, over a number of rounds.

        Args:
            kind: `"network"`, `"layers"` or `"units"`.
            rounds: N, a scalar tensor.

        Returns:
            A scalar, a vector `(layers,)` or a vector `(unit_count,)`; NaN where N is 0.
        """
        squares = self._scopes.totals(ops.convert_to_tensor(self._unit_sums[1]), kind)
        return ops.sqrt(bounds.average(squares, rounds))

    def add_updates(self, gradients, before, after, is_finite):
        """Adds what a round's update has to it, once it is made.

        Args:
            gradients: `g^n` as matrices.
            before: `W^n` as matrices.
            after: `W^(n+1)` as matrices.
            is_finite: Whether the round counts, a boolean scalar.
        """
        pairs = list(zip(after, before, strict=True))
        if self.noise is not None:
            updates = [new - old for new, old in pairs]
            ops.cond(is_finite, lambda: self.noise.add(gradients, updates), lambda: None)
        if self.squared_updates is not None:
            squares = [backend.squared_difference(*pair) for pair in pairs]
            squares = ops.cast(self._scopes.unit_sums(squares), bounds.SUM_DTYPE)
            backend.add_in_place(self.squared_updates, ops.where(is_finite, squares, 0.0))

    def distances(self, kind):
        """Returns the largest `||W^n - W^1||` of each part.

        Args:
            kind: `"network"`, `"layers"` or `"units"`.

        Returns:
            A scalar, a vector `(layers,)` or a vector `(unit_count,)`.
        """
        begin = 0
        for name, parts in self._part_counts.items():
            if name == kind:
                found = ops.sqrt(self._squared_distances[begin : begin + parts])
                return found[0] if kind == "network" else found
            begin += parts
        raise ValueError(f"unknown kind {kind!r}: expected one of {', '.join(self._part_counts)}")

    def linear_regret(self, kind, radius=None):
        """Returns cumulative linear regret of each part, against the worst comparator in the ball.

        Args:
            kind: `"network"`, `"layers"` or `"units"`.
            radius: R, the same for every part; `None` for the part's largest distance.

        Returns:
            A scalar, a vector `(layers,)` or a vector `(unit_count,)`, summed over rounds.
        """
        radius = self.distances(kind) if radius is None else radius
        return bounds.linear_regret(
            self._scopes, self._unit_sums[0], self.gradient_sums, radius, kind
        )

    def guarantee(self, kind, radius=None):
        """Returns the cumulative guarantee of each part, `R_s sqrt(sum_n ||g_s^n||^2)`.

        Args:
            kind: `"network"`, `"layers"` or `"units"`.
            radius: R, the same for every part; `None` for the part's largest distance.

        Returns:
            A scalar, a vector `(layers,)` or a vector `(unit_count,)`, summed over rounds.
        """
        radius = self.distances(kind) if radius is None else radius
        return guarantee(self._scopes, self._unit_sums[1], radius, kind)

    def gradient_agreement(self, kind):
        """Returns `||sum_n g_s^n|| / sqrt(sum_n ||g_s^n||^2)` of each part, without a unit.

        Args:
            kind: `"network"`, `"layers"` or `"units"`.

        Returns:
            A scalar, a vector `(layers,)` or a vector `(unit_count,)`; NaN without a gradient.
        """
        sums = bounds.unit_squared_norms(self._scopes, self.gradient_sums)
        norms = ops.sqrt(self._scopes.totals(sums, kind))
        return gradient_agreement(norms, self._scopes.totals(self._unit_sums[1], kind))

    def linear_regret_against(self, kind, comparator):
        """Returns cumulative linear regret of each part, against one comparator V.

        Args:
            kind: `"network"`, `"layers"` or `"units"`.
            comparator: V, arrays shaped like the weights.

        Returns:
            A scalar, a vector `(layers,)` or a vector `(unit_count,)`, summed over rounds.
        """
        wide = [ops.cast(weights, bounds.SUM_DTYPE) for weights in comparator]
        displacement = [
            matrix - ops.cast(first, bounds.SUM_DTYPE)
            for matrix, first in zip(self._scopes.matrices(wide), self._first_weights, strict=True)
        ]
        return bounds.linear_regret_against(
            self._scopes, self._unit_sums[0], self.gradient_sums, displacement, kind
        )


def _column_squares(matrix):
    """Returns the squared norm of each column, a float64 vector."""
    return ops.cast(backend.column_sums(ops.square(matrix))[0], bounds.SUM_DTYPE)
