"""The sums over rounds that linear regret and the distance travelled come from.

With weights `W^n` and gradient `g^n` of round n, these are, over the rounds n so far:

    inner products      sum_n <g_u^n, W_u^n - W_u^1>      for each unit u
    gradient sums       sum_n g^n                         for each weight
    squared distances   max_n ||W_s^n - W_s^1||^2         for each part s: network, layer, unit
"""

from keras import ops

from keras_taylor.tracking import linear_regret as bounds
from keras_taylor.tracking.signal_to_noise import SignalToNoiseSums
from keras_taylor.weights.scopes import SCOPES


class RegretSums:
    """The sums over rounds, and `W^1`, as variables.

    Gradients and weights come as matrices, one for each piece of the `Scopes`.

    Args:
        add_variable: Function of a shape, a name and a dtype that returns a variable of zeros.
        scopes: The `keras_taylor.weights.scopes.Scopes` that cut the weights.
        dtype: The dtype of the weights; sums are float64.
        track_snr: Whether to make the sums for signal-to-noise ratios, too.

    Attributes:
        gradient_sums: `sum_n g^n`, a list of variables shaped like the matrices.
        noise: A `SignalToNoiseSums`, or `None`.
    """

    def __init__(self, add_variable, scopes, dtype, track_snr=False):
        def add_sum(shape, name):
            return add_variable(shape, name, bounds.SUM_DTYPE)

        shapes = [(piece.rows, sum(piece.columns)) for piece in scopes.pieces]
        self._scopes = scopes
        # The order of these variables is the order in saved optimizers.
        self._first_weights = [add_variable(shape, "first_weights", dtype) for shape in shapes]
        self.gradient_sums = [add_sum(shape, "gradient") for shape in shapes]
        self.noise = SignalToNoiseSums(add_sum, shapes) if track_snr else None
        self._inner_products = add_sum((scopes.unit_count,), "inner_product")
        self._squared_distances = {
            "network": add_sum((), "network_distance"),
            "layers": add_sum((len(scopes.layers),), "layer_distance"),
            "units": add_sum((scopes.unit_count,), "unit_distance"),
        }

    def variables(self):
        """Returns the variables that are zero before the first round; `W^1` is not among them."""
        return [
            *self.gradient_sums,
            self._inner_products,
            *(self._squared_distances[kind] for kind in SCOPES),
            *(self.noise.variables() if self.noise is not None else ()),
        ]

    def set_first_weights(self, weights):
        """Takes weights, as matrices, as `W^1`."""
        for variable, weight in zip(self._first_weights, weights, strict=True):
            variable.assign(weight)

    def terms(self, gradients, weights):
        """Returns what a round adds for each unit.

        Args:
            gradients: `g^n` as matrices.
            weights: `W^n` as matrices.

        Returns:
            Two float64 vectors `(unit_count,)`: `<g_u^n, W_u^n - W_u^1>` and
            `||W_u^n - W_u^1||^2`.
        """
        displacements = [w - f for w, f in zip(weights, self._first_weights, strict=True)]
        products = bounds.unit_inner_products(self._scopes, gradients, displacements)
        return products, bounds.unit_squared_norms(self._scopes, displacements)

    def add(self, gradients, products, squared_distances):
        """Adds a round: its gradients as matrices, and its `terms`."""
        self._inner_products.assign_add(products)
        for gradient_sum, gradient in zip(self.gradient_sums, gradients, strict=True):
            gradient_sum.assign_add(ops.cast(gradient, bounds.SUM_DTYPE))
        for kind, largest in self._squared_distances.items():
            largest.assign(ops.maximum(largest, self._scopes.totals(squared_distances, kind)))

    def distances(self, kind):
        """Returns the largest `||W^n - W^1||` of each part.

        Args:
            kind: `"network"`, `"layers"` or `"units"`.

        Returns:
            A scalar, a vector `(layers,)` or a vector `(unit_count,)`.
        """
        return ops.sqrt(self._squared_distances[kind])

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
            self._scopes, self._inner_products, self.gradient_sums, radius, kind
        )

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
            self._scopes, self._inner_products, self.gradient_sums, displacement, kind
        )
