"""What is known of all rounds trained where only a sample of them is kept: losses and distances."""

import numpy as np
import tensorflow as tf
from keras import ops

from keras_taylor.trajectory import sealed
from keras_taylor.weights.scopes import Scopes

SUMS = "sums.npz"


class RunSums:
    """The sum of losses and the largest distances from `W^1` up to the end of each stratum.

    Args:
        weights: The variables that are trained.
        ends: The numbers of the last rounds of the strata, in rising order.

    Attributes:
        first: `W^1`, arrays; `None` before `begin`.
        is_new: Whether a stratum ended since the sums were saved.
    """

    def __init__(self, weights, ends):
        self._weights, self._ends, self.first = weights, set(ends), None
        self._loss, self._largest, self._rows, self.is_new = 0.0, 0.0, {}, False

    def begin(self, first):
        """Takes the weights of the first round as `W^1`."""
        scopes, self.first = Scopes(self._weights), first
        wide = [tf.constant(array, "float64") for array in first]

        def squares():
            pairs = zip(self._weights, wide, strict=True)
            moves = [ops.square(ops.cast(weight, "float64") - start) for weight, start in pairs]
            by_unit = scopes.unit_sums(scopes.matrices(moves))
            layers, network = scopes.totals(by_unit, "layers"), ops.sum(by_unit, keepdims=True)
            return ops.concatenate([by_unit, layers, network])

        self._squares = tf.function(squares, autograph=False)

    def before(self):
        """Notes the distances before the update of a round."""
        self._largest = np.maximum(self._largest, self._squares().numpy())

    def after(self, number, loss):
        """Notes the loss of the round of that number."""
        self._loss += loss
        if number in self._ends:
            self._rows[number] = self._loss, np.sqrt(self._largest)
            self.is_new = True

    def state(self):
        """Returns what `restore` takes, arrays by name."""
        rows = list(self._rows.values())
        return {
            "ends": np.array(list(self._rows), int),
            "losses": np.array([loss for loss, _ in rows]),
            "distances": np.array([distances for _, distances in rows]),
            "loss": np.float64(self._loss),
            "largest": np.asarray(self._largest),
        }

    def restore(self, first, state):
        """Goes on from a `state`."""
        self.begin(first)
        rows = zip(state["losses"].tolist(), state["distances"], strict=True)
        self._rows = dict(zip(state["ends"].tolist(), rows, strict=True))
        self._loss, self._largest = float(state["loss"]), state["largest"]
        self.is_new = True

    def save(self, path, run):
        """Writes the sums up to the end of the latest stratum into the directory of a run."""
        sealed.write_arrays(path / SUMS, run, [], **self.state())
        self.is_new = False


class SumsOfStrata:
    """The sums of a run as a reader sees them.

    Args:
        path: The directory that `RunSums.save` wrote into.
        run: The id of the run.
        ends: The last rounds of the strata of which all rounds to be kept are there.

    Attributes:
        ends: Those of them that were trained to their end, a list.
    """

    def __init__(self, path, run, ends):
        _, saved = sealed.read_arrays(path / SUMS, run)
        # A run that goes on from a checkpoint writes rounds again: the sums may be ahead of them.
        is_there = np.isin(saved["ends"], list(ends))
        self.ends = saved["ends"][is_there].tolist()
        self._losses, self._distances = saved["losses"][is_there], saved["distances"][is_there]

    def average_loss(self, end):
        """Returns the average loss of all rounds up to the end of a stratum."""
        return float(self._losses[self.ends.index(end)] / end)

    def travelled(self, part, end):
        """Returns the largest distance of a `Part` from `W^1` of all rounds up to that end."""
        scopes, row = part.scopes, self._distances[self.ends.index(end)]
        if part.layer is None:
            return float(row[-1])
        if part.unit is not None:
            return float(row[part.units.start])
        return float(row[scopes.unit_count + list(scopes.layers).index(part.layer)])
