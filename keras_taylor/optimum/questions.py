"""What the solve of a unit asks of passes that the units of its layer share."""

import dataclasses

import numpy as np

from keras_taylor.optimum import ball
from keras_taylor.optimum.objective import SmoothObjective
from keras_taylor.optimum.passes import Passes

VALUE, CURVATURE, LOSSES = "value", "curvature", "losses"


@dataclasses.dataclass(frozen=True)
class Question:
    """What a unit's solve asks of a pass.

    Args:
        kind: `VALUE` (F and its gradient), `CURVATURE` (a product) or `LOSSES` (of each round).
        wide: Whether in float64.
        horizon: N.
        check: Whether of the check sample.
        unit: The number of the unit in its layer.
        point: The unit's weights.
        vector: What the curvature is multiplied by.
    """

    kind: str
    wide: bool
    horizon: int
    check: bool
    unit: int
    point: np.ndarray
    vector: np.ndarray | None = None

    @property
    def of_pass(self):
        """What questions that one pass answers have in common."""
        return self.kind, self.wide, self.horizon, self.check


class AskingObjective(SmoothObjective):
    """F of one unit and its derivatives, by asking for passes that others share.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        part: The unit's `keras_taylor.weights.parts.Part`.
        ask: Function from a `Question` to its answer.
    """

    def __init__(self, rounds, part, ask):
        self.part, self.horizon = part, len(rounds)
        self._rounds, self._ask, self._is_precise = rounds, ask, False

    def over_first(self, horizon):
        return self._changed(horizon=horizon)

    def sharpened(self):
        if self._is_precise or self._rounds.wide_model is self._rounds.model:
            return None
        return self._changed(_is_precise=True)

    def minimize(self, budget, center, radii, tolerance, warm_start):
        passes, is_quadratic = Passes(self, budget), self._rounds.loss.is_quadratic
        return ball.minimize(passes, center, radii, tolerance, is_quadratic, warm_start)

    def value_and_gradient(self, point):
        return self._ask(Question(VALUE, True, *self._place(), point))

    def curvature_product(self, point, vector):
        return self._ask(Question(CURVATURE, self._is_precise, *self._place(), point, vector))

    def losses(self, point, check=False):
        return self._ask(Question(LOSSES, True, *self._place(check), point))

    def _place(self, check=False):
        return self.horizon, check, self.part.unit

    def _changed(self, **attributes):
        other = AskingObjective(self._rounds, self.part, self._ask)
        vars(other).update(vars(self) | attributes)
        return other
