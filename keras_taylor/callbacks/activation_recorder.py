"""A callback that records how training explores activation configurations."""

import math
import pathlib

import numpy as np
import tensorflow as tf

from keras_taylor.callbacks.cadence import Cadence
from keras_taylor.exploration import snapshots

MEASURES = (
    "activation_hamming",
    "nearest_hamming",
    "distinct_configurations",
    "dead_units",
    "always_on_units",
    "switches_per_unit",
)


class ActivationRecorder(Cadence):
    """Takes snapshots of the activation configurations of a probe, and logs how they change.

    The first snapshot is taken when training begins, the others after each epoch, or after every
    so many rounds. Logged into the history at the end of an epoch, as of the latest snapshot:

    - `activation_hamming`: share of rectifiers and pooling windows, over all examples of the
      probe, that differ from the snapshot before.
    - `nearest_hamming`: the least such share to any earlier snapshot that is kept: how far from
      everything seen.
    - `distinct_configurations`: number of different configurations of single examples, in all
      snapshots so far.
    - `dead_units`, `always_on_units`: shares of rectifier units that are off, or on, for all
      examples and places. NaN where only pooling has kinks.
    - `switches_per_unit`: the sum of `activation_hamming` so far: how often an average rectifier or
      window has switched for an average example.

    With one snapshot only, the first two are NaN.

    Args:
        probe_x: Inputs, fixed for the whole run: arrays in the structure that the model takes. A
            thousand examples cost about one forward pass a snapshot.
        every: `"epoch"`, or a number of rounds.
        max_snapshots: The most snapshots that stay in memory, for `nearest_hamming` and
            `to_npz`; `None` for all.
        log_dir: A directory to write scalars and a histogram of each layer's unit frequencies to,
            for TensorBoard.

    Raises:
        ValueError: if `every` or `max_snapshots` is not a positive integer; in `fit`, if the probe
            has no examples or other shapes than the model takes, the model has no rectifier that
            can be seen, or is another one than in an earlier `fit`.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu")])
    >>> model.compile("sgd", loss="mse")
    >>> recorder = ActivationRecorder(np.eye(4))
    >>> history = model.fit(np.eye(4), np.ones((4, 8)), epochs=2, verbose=0, callbacks=[recorder])
    >>> len(history.history["activation_hamming"]), recorder.steps
    (2, [0, 1, 2])
    """

    def __init__(self, probe_x, every="epoch", max_snapshots=None, log_dir=None):
        super().__init__(every)
        if max_snapshots is not None and not (isinstance(max_snapshots, int) and max_snapshots > 0):
            raise ValueError(
                f"max_snapshots must be a positive integer or None, received {max_snapshots!r}"
            )
        self._probe_x, self._max_snapshots, self._log_dir = probe_x, max_snapshots, log_dir
        self._probe, self._writer, self._recorded = None, None, None
        self.snapshots, self.steps, self.measures = [], [], {name: [] for name in MEASURES}
        self._kept_steps, self._digests = [], set()

    def on_train_begin(self, logs=None):
        if self._probe is not None and self._recorded is not self.model:
            raise ValueError(
                f"this recorder holds snapshots of model {self._recorded.name!r}, received model "
                f"{self.model.name!r}: make a new recorder for each model"
            )
        if self._probe is None:
            self._recorded = self.model
            self._probe = snapshots.Probe(self.model, self._probe_x)
            if self._log_dir is not None:
                self._writer = tf.summary.create_file_writer(str(self._log_dir))
            self.take()

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if logs is not None:
            logs |= self.latest()

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.flush()

    def latest(self):
        """Returns the measures of the latest snapshot."""
        return {name: values[-1] for name, values in self.measures.items()}

    def take(self, logs=None):
        """Takes a snapshot of the present weights, as is done in `fit` by itself."""
        snapshot = self._probe.snapshot()
        self._digests |= snapshots.digests(snapshot)
        frequency = snapshots.unit_frequency(snapshot)
        moved = math.nan
        if self.snapshots:
            moved = snapshots.hamming_share(snapshot, self.snapshots[-1])
        switches = self.measures["switches_per_unit"]
        found = (
            moved,
            snapshots.nearest_share(snapshot, self.snapshots),
            len(self._digests),
            snapshots.dead_share(frequency),
            snapshots.always_on_share(frequency),
            (switches[-1] if switches else 0.0) + (moved if self.snapshots else 0.0),
        )
        for name, value in zip(MEASURES, found, strict=True):
            self.measures[name].append(value)
        self._remember(snapshot)
        if self._writer is not None:
            self._write(frequency)

    def to_npz(self, path):
        """Writes steps, measures and the snapshots that are kept, packed, to a file.

        `steps` and each measure have an entry a snapshot; `kept_steps` names the snapshots whose
        bits are in `bits/<layer>`: `(snapshots, planes, examples, bytes)`, as `numpy.packbits`
        packs them, with `shape/<layer>` the shape of an example's elements.
        """
        layers = self.snapshots[0].layers if self.snapshots else {}
        arrays = {"steps": self.steps, "kept_steps": self._kept_steps, **self.measures}
        for name, bits in layers.items():
            arrays[f"bits/{name}"] = np.stack([s.layers[name].packed for s in self.snapshots])
            arrays[f"shape/{name}"] = np.array(bits.shape)
        np.savez_compressed(pathlib.Path(path), **arrays)

    def _remember(self, snapshot):
        self.steps.append(self.round)
        self.snapshots.append(snapshot)
        self._kept_steps.append(self.round)
        if self._max_snapshots is not None:
            del self.snapshots[: -self._max_snapshots], self._kept_steps[: -self._max_snapshots]

    def _write(self, frequency):
        with self._writer.as_default(step=self.round):
            for name, value in self.latest().items():
                tf.summary.scalar(f"exploration/{name}", value)
            for layer, units in frequency.items():
                tf.summary.histogram(f"unit_frequency/{layer}", units)
