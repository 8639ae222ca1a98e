"""`diagnose`: what the sums of a regret tracker say about the step, and what to do."""

import dataclasses
import html
import math

import keras
import numpy as np

from keras_taylor.diagnosis import rules
from keras_taylor.diagnosis.learning_rate import peak_rate
from keras_taylor.exploration import measures
from keras_taylor.optimizers.regret_tracker import tracker_of
from keras_taylor.optimizers.wrapper import wrapped

COLUMNS = (
    "part",
    "relative_regret",
    "step_ratio",
    "gradient_agreement",
    "suggested_rate",
    "dead_units",
    "advice",
)


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found. `print` shows a table, a notebook one in HTML.

    Args:
        rows: A dictionary for the network and for each layer:

            - `part`: `"network"` or `"layer:<key>"`;
            - `rounds`: the rounds in the sums;
            - `relative_regret`, `step_ratio`, `gradient_agreement`: as the tracker reads them, the
              step ratio NaN where it is not tracked;
            - `verdict`: `"raise"`, `"lower"`, `"fits"`, `"lags"`, `"still"`, `"dead"`,
              `"of a dead network"`, `"diverged"`, `"too few rounds"`, `"no rounds"` or
              `"cannot tell"`;
            - `factor`: what to multiply the learning rate by, NaN without advice;
            - `suggested_rate`: the learning rate times the factor;
            - `dead_units`: the share of rectifier units that are off for all of the recorder's
              examples, NaN without a recorder or rectifiers;
            - `advice`: a sentence.
        learning_rate: The largest learning rate over the rounds tracked.
        notes: Sentences on what the advice is about.

    Source: reconstruction; the rules are in `keras_taylor.diagnosis.rules`.
    """

    rows: list
    learning_rate: float
    notes: tuple = ()

    @property
    def network(self):
        """The row of the network."""
        return self.rows[0]

    def __str__(self):
        header, cells = [name.replace("_", " ") for name in COLUMNS], self._cells()
        widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
        lines = [_line(row, widths) for row in (header, *cells)]
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], *self.notes])

    def _repr_html_(self):
        header = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in COLUMNS)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._cells()
        )
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>{notes}"

    def to_markdown(self):
        """Returns the table in Markdown, as TensorBoard shows it."""
        rows = [[name.replace("_", " ") for name in COLUMNS], ["---"] * len(COLUMNS)]
        lines = ["| " + " | ".join(row) + " |" for row in (*rows, *self._cells())]
        return "\n".join(lines) + "".join(f"\n\n{note}" for note in self.notes)

    def _cells(self):
        return [[_cell(row[name]) for name in COLUMNS] for row in self.rows]


def diagnose(optimizer, recorder=None, learning_rate=None):
    """Tells what a run says about its learning rate, for the network and each layer.

    It reads the sums that a `RegretTracker` keeps anyway: nothing is added to the step. The advice
    rests on the gradient agreement, which means the same for every optimizer, and tells rates that
    are too small better than those that are too large. See
    `keras_taylor.diagnosis.rules` for the rules, thresholds and reasons. Sums over a whole run
    suit best, or since `start_tracking()` after a warm-up. A run of an eighth of the rounds that
    the final one will have is enough.

    Args:
        optimizer: A `RegretTracker`, an optimizer that wraps one, or a model compiled with one.
        recorder: A `keras_taylor.callbacks.ActivationRecorder` of the run, for dead units. Where
            most rectifiers are dead, there is no advice on the rate.
        learning_rate: The rate that the advice is about; by default the optimizer's, and with a
            schedule its largest over the rounds tracked. To give where a callback changed it.

    Returns:
        A `Diagnosis`.

    Raises:
        ValueError: if there is no `RegretTracker`, it passes over rounds (`every` above 1), or it
            is not built.

    Example:

    >>> optimizer = keras_taylor.optimizers.RegretTracker(keras.optimizers.SGD(0.001))
    >>> weight = keras.Variable([1.0, 1.0], name="w")
    >>> for _ in range(150):  # always the same gradient: the step is far too short
    ...     optimizer.apply([np.array([3.0, -4.0], "float32")], [weight])
    >>> found = diagnose(optimizer)
    >>> found.network["advice"], found.network["suggested_rate"]
    ('raise the rate about 10 times', 0.01)

    Source: reconstruction, from the guarantee in Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor
    Approximations, ICML 2017.
    """
    tracker = checked_tracker(optimizer)
    rounds = int(tracker.steps)
    peak, is_scheduled = peak_rate(tracker, rounds)
    rate = peak if learning_rate is None else float(learning_rate)
    dead = _dead_units(recorder)
    rows = [_row(*pair, rate) for pair in _readings(tracker, rounds, dead)]
    notes = ()
    # Optimizers hold their rate in float32.
    if is_scheduled or not math.isclose(rate, float(tracker.learning_rate), rel_tol=1e-6):
        notes = (
            f"The learning rate changed: the advice is for its peak, {rate:.3g} over these rounds.",
        )
    return Diagnosis(rows, rate, notes)


def checked_tracker(optimizer):
    """Returns the tracker of an optimizer or model; raises a ValueError where none is for advice.

    Args:
        optimizer: As of `diagnose`.
    """
    if isinstance(optimizer, keras.Model):
        optimizer = optimizer.optimizer
    tracker = tracker_of(optimizer)
    if tracker is None:
        raise ValueError(
            f"diagnose needs a RegretTracker, received {optimizer!r}: compile the model with "
            "keras_taylor.optimizers.RegretTracker around its optimizer"
        )
    if tracker.every > 1:
        raise ValueError(
            f"diagnose needs the sums over all rounds, and {tracker.name} has every="
            f"{tracker.every}: gradients that are far apart look as if they agreed less. Make it "
            "with every=1"
        )
    return tracker


def _readings(tracker, rounds, dead):
    """Yields `(numbers, reading)` for the network, then for each layer."""
    names = ("relative_regret", "gradient_agreement", "distance_travelled")
    names += ("step_ratio",) if tracker.track_step_ratio else ()
    network = {name: float(getattr(tracker, name)()) for name in names}
    layers = {name: _numbers(getattr(tracker, name)("layers")) for name in names}
    *_, innermost = wrapped(tracker)
    common = {
        "rounds": rounds,
        "skipped": int(tracker.skipped_steps),
        "network_agreement": network["gradient_agreement"],
        "signs_only": isinstance(innermost, keras.optimizers.Lion),
        "network_dead_share": _dead_of("network", dead),
        "deadest_layer": max(map(_off_share, dead.values()), default=math.nan),
    }
    parts = {"network": network}
    for layer in layers[names[0]]:
        parts[f"layer:{layer}"] = {name: layers[name][layer] for name in names}
    for part, values in parts.items():
        dead_share = _dead_of(part, dead)
        reading = rules.Reading(
            is_layer=part != "network",
            agreement=values["gradient_agreement"],
            has_moved=values["distance_travelled"] > 0,
            step_ratio=values.get("step_ratio", math.nan),
            dead_share=dead_share,
            **common,
        )
        numbers = {name: values.get(name, math.nan) for name in (*names[:2], "step_ratio")}
        yield {"part": part, "rounds": rounds, **numbers, "dead_units": dead_share}, reading


def _row(numbers, reading, rate):
    verdict, factor, advice = rules.judge(reading)
    return numbers | {
        "verdict": verdict,
        "factor": factor,
        # A rate with more digits than are known would pretend too much.
        "suggested_rate": float(f"{rate * factor:.2g}"),
        "advice": advice,
    }


def _numbers(by_layer):
    return {layer: float(value) for layer, value in by_layer.items()}


def _dead_units(recorder):
    """Returns how often each unit is on, `{layer: (units,)}`, in the latest snapshot."""
    if recorder is None or not recorder.snapshots:
        return {}
    return measures.unit_frequency(recorder.snapshots[-1])


def _dead_of(part, frequency):
    if part == "network":
        return measures.dead_share(frequency) if frequency else math.nan
    # Weights have paths such as `net/hidden`, recorded layers their names.
    name = part.removeprefix("layer:").rpartition("/")[2]
    units = frequency.get(name)
    return math.nan if units is None else _off_share(units)


def _off_share(frequency):
    return float(np.mean(np.asarray(frequency) == 0))


def _cell(value):
    if isinstance(value, str):
        return value
    return "–" if math.isnan(value) else f"{value:.3g}"


def _line(cells, widths):
    first, *middle, last = cells
    numbers = [cell.rjust(width) for cell, width in zip(middle, widths[1:-1], strict=True)]
    return "  ".join([first.ljust(widths[0]), *numbers, last]).rstrip()
