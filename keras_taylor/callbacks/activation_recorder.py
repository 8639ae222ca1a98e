"""A callback that records how training explores activation configurations."""

import math
import pathlib

import numpy as np
import tensorflow as tf

from keras_taylor.callbacks import histograms
from keras_taylor.callbacks.cadence import Cadence
from keras_taylor.exploration import measures, snapshots
from keras_taylor.weights.arguments import is_whole

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

    The activation configuration of an input is the bit of every rectifier (on or off) and the
    winner of every max-pooling window. The first snapshot is taken when training begins, the
    others after each epoch, or after a number of rounds. At the end of each epoch, the measures
    of the latest snapshot go into the history:

    - `activation_hamming`: the share of bits and winners, over all examples of the probe, that
      differ from the previous snapshot; from 0 to 1.
    - `nearest_hamming`: the least such share to any earlier snapshot in memory. It says how far
      the run is from all that it has visited.
    - `distinct_configurations`: the number of different configurations that single examples had,
      over all snapshots so far.
    - `dead_units`, `always_on_units`: the shares of rectifier units that are off, or on, for all
      examples and places; from 0 to 1. NaN for a model without rectifiers. `dead_unit_numbers`
      tells which they are.
    - `switches_per_unit`: the sum of `activation_hamming` over all snapshots so far: how many
      times an average bit or winner of an average example was seen to differ.

    With one snapshot, the first two are NaN.

    Smooth activations (GELU, SiLU, ELU and the like) have no kinks; a model of these is refused.
    With `smooth=True`, the bit of such a unit is the sign of its pre-activation: the side on which
    the unit is nearly linear, or nearly (GELU, SiLU) or less and less (ELU) cut off. Such a unit
    that is never on is not dead, since it has a gradient, and is not among the dead units.

    Args:
        probe_x: The probe: inputs that stay the same for the whole run, arrays `(examples, ...)`
            in the structure that the model takes. A snapshot costs about one forward pass.
        every: `"epoch"`, or k for a snapshot after rounds k, 2k, 3k, ...
        max_snapshots: The largest number of snapshots in memory, for `nearest_hamming` and
            `to_npz`; the oldest are dropped. `None` for all.
        log_dir: A directory for TensorBoard: scalars of the measures and, for each layer, a
            histogram of how often its units are on. `None` to write nothing.
        smooth: Whether units with a smooth activation count, too, by the sign of their
            pre-activation.

    Attributes:
        snapshots: The snapshots in memory, a list of `keras_taylor.exploration.Snapshot`.
        steps: The number of rounds before each snapshot, a list of integers.
        measures: `{measure: [value, ...]}`, with a value for each snapshot.

    Raises:
        ValueError: if `every` is neither `"epoch"` nor a positive integer, or `max_snapshots` is
            neither `None` nor a positive integer. In `fit`: if the probe has no examples or its
            shapes do not fit the model, if no rectifier is found in the model, or if the model is
            another one than in an earlier `fit`.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu")])
    >>> model.compile("sgd", loss="mse")
    >>> recorder = ActivationRecorder(np.eye(4))
    >>> history = model.fit(np.eye(4), np.ones((4, 8)), epochs=2, verbose=0, callbacks=[recorder])
    >>> len(history.history["activation_hamming"]), recorder.steps
    (2, [0, 1, 2])

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017, for the
    idea; the measures are a reconstruction.
    """

    def __init__(self, probe_x, every="epoch", max_snapshots=None, log_dir=None, smooth=False):
        super().__init__(every)
        if max_snapshots is not None and not (is_whole(max_snapshots) and max_snapshots > 0):
            raise ValueError(
                f"max_snapshots must be a positive integer or None, received {max_snapshots!r}"
            )
        self._probe_x, self._max_snapshots, self._log_dir = probe_x, max_snapshots, log_dir
        self._probe, self._writer, self._recorded, self._smooth = None, None, None, bool(smooth)
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
            self._probe = snapshots.Probe(self.model, self._probe_x, smooth=self._smooth)
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
        """Returns the measures of the latest snapshot, `{measure: number}`.

        Raises:
            IndexError: if there is no snapshot yet.
        """
        return {name: values[-1] for name, values in self.measures.items()}

    def dead_unit_numbers(self):
        """Returns which rectifier units were off for the whole probe in the latest snapshot.

        Returns:
            `{layer: [number, ...]}`, the layers that have such units and these, from 0 on; a second
            call of a layer is `"<layer>:1"`.

        Raises:
            IndexError: if there is no snapshot yet.

        Example:

        >>> dense = keras.layers.Dense(3, "relu", name="hidden")
        >>> model = keras.Sequential([keras.Input((4,)), dense])
        >>> model.compile(keras.optimizers.SGD(0.0), loss="mse")
        >>> dense.set_weights([np.ones((4, 3)), np.array([0.0, -9.0, 0.0])])
        >>> recorder = ActivationRecorder(np.eye(4))
        >>> history = model.fit(np.eye(4), np.ones((4, 3)), verbose=0, callbacks=[recorder])
        >>> recorder.dead_unit_numbers()
        {'hidden': [1]}
        """
        return measures.dead_unit_numbers(measures.unit_frequency(self.snapshots[-1]))

    def take(self, logs=None):
        """Takes a snapshot of the present weights and adds its measures.

        `fit` calls it; call it yourself for a snapshot at another moment after training began.

        Args:
            logs: Not used.
        """
        snapshot = self._probe.snapshot()
        self._digests |= measures.digests(snapshot)
        frequency = measures.unit_frequency(snapshot)
        share = math.nan
        if self.snapshots:
            share = measures.hamming_share(snapshot, self.snapshots[-1])
        switches = self.measures["switches_per_unit"]
        found = (
            share,
            measures.nearest_share(snapshot, self.snapshots),
            len(self._digests),
            measures.dead_share(frequency),
            measures.always_on_share(frequency),
            (switches[-1] if switches else 0.0) + (share if self.snapshots else 0.0),
        )
        for name, value in zip(MEASURES, found, strict=True):
            self.measures[name].append(value)
        self._remember(snapshot)
        if self._writer is not None:
            self._write(frequency)

    def to_npz(self, path):
        """Writes the measures and the snapshots in memory to a file, for `numpy.load`.

        The file has these arrays:

        - `steps`: the number of rounds before each snapshot, `(snapshots,)`;
        - one array for each measure, under its name, `(snapshots,)`;
        - `kept_steps`: the `steps` of the snapshots in memory, `(kept,)`;
        - `bits/<layer>`: their bits as bytes, `(kept, planes, examples, bytes)`, packed as by
          `numpy.packbits`; see `keras_taylor.exploration.Bits`;
        - `shape/<layer>`: the shape of the elements of an example.

        Args:
            path: The file, with the ending `.npz`.

        Raises:
            OSError: if the file cannot be written.

        Example:

        >>> import tempfile
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU(name="relu")])
        >>> model.compile(loss="mse")
        >>> recorder = ActivationRecorder(np.eye(4))
        >>> history = model.fit(np.eye(4), np.eye(4), verbose=0, callbacks=[recorder])
        >>> path = tempfile.mkdtemp() + "/run.npz"
        >>> recorder.to_npz(path)
        >>> np.load(path)["bits/relu"].shape
        (2, 1, 4, 8)
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
                histograms.write(f"unit_frequency/{layer}", units)
