"""A callback that reads a `RegretTracker` at some rounds of training."""

import keras

from experiments.runs import callbacks, rounds

LOG_SPACED = 60
LINEARLY_SPACED = 50
UNITS = 12
# The comparators of the Taylor losses: the weights where tracking starts, and the iterates' mean.
COMPARATORS = ("initial", "average")
# What is read of the tracker, for each part.
READINGS = ("linear_regret", "optimum_lower_bound", "guarantee", "relative_regret", "step_ratio")


class RegretRecorder(callbacks.DivergenceWatch):
    """Reads linear regret, its bounds and the guarantee at log-spaced and linearly spaced rounds.

    Rounds are counted from where tracking starts, which is after `burn_in` rounds. Reading
    costs a transfer from the device, so it happens at about a hundred rounds of a run, and for
    units at about a dozen. Training stops after `steps` rounds, or earlier at a loss that is not
    finite.

    Args:
        tracker: The `keras_taylor.optimizers.RegretTracker` of the model.
        steps: Rounds to train, burn-in included.
        burn_in: Rounds before tracking starts.
        comparators: Names of the comparators of the model, a `keras_taylor.TaylorModel`, whose
            average Taylor losses are read too.
    """

    def __init__(self, tracker, steps, burn_in=0, comparators=()):
        super().__init__()
        self._tracker = tracker
        self._steps = steps
        self._burn_in = burn_in
        self._trained = 0
        tracked = steps - burn_in
        self._unit_rounds = set(rounds.log_spaced(tracked, UNITS))
        self._rounds = self._unit_rounds.union(
            rounds.log_spaced(tracked, LOG_SPACED), rounds.linearly_spaced(tracked, LINEARLY_SPACED)
        )
        self._progress = {"round": [], "steps": [], "skipped_steps": [], "average_loss": []}
        self._taylor_losses = {name: [] for name in comparators}
        self._network, self._layers = _Series(), {}
        self._unit_progress, self._units = {"round": [], "steps": []}, {}

    def on_train_batch_end(self, batch, logs=None):
        self._trained += 1
        current = self._trained - self._burn_in
        if current == 0:
            self._tracker.start_tracking()
            if self._taylor_losses:
                self.model.start_tracking()
        self.check_loss((logs or {}).get("loss", 0.0))
        if current in self._rounds or self.diverged:
            self._record(max(current, 0))
        if current in self._unit_rounds:
            self._record_units(current)
        if self._trained == self._steps:
            self.model.stop_training = True

    def series(self):
        """Returns all readings, as lists over rounds in nested dictionaries."""
        return {
            "progress": self._progress,
            "average_taylor_loss": self._taylor_losses,
            "network": self._network.lists(),
            "layers": {layer: series.lists() for layer, series in self._layers.items()},
            "unit_progress": self._unit_progress,
            "units": {layer: series.lists() for layer, series in self._units.items()},
        }

    def _record(self, current):
        tracker = self._tracker
        self._progress["round"].append(current)
        self._progress["steps"].append(int(tracker.steps))
        self._progress["skipped_steps"].append(int(tracker.skipped_steps))
        self._progress["average_loss"].append(float(tracker.average_loss))
        for name, values in self._taylor_losses.items():
            values.append(float(self.model.average_taylor_loss(name)))
        self._network.append({name: getattr(tracker, name)() for name in READINGS})
        self._append_parts(self._layers, "layers")

    def _record_units(self, current):
        self._unit_progress["round"].append(current)
        self._unit_progress["steps"].append(int(self._tracker.steps))
        self._append_parts(self._units, "units")

    def _append_parts(self, parts, scope):
        found = {name: getattr(self._tracker, name)(scope) for name in READINGS}
        for layer in found[READINGS[0]]:
            read = {name: values[layer] for name, values in found.items()}
            parts.setdefault(layer, _Series()).append(read)


class _Series:
    """The readings of one part, round after round."""

    def __init__(self):
        self._values = {name: [] for name in READINGS}

    def append(self, found):
        for name, value in found.items():
            self._values[name].append(keras.ops.convert_to_numpy(value).tolist())

    def lists(self):
        return self._values
