"""Writing the rounds of one training to disk, and what is needed to go on with it."""

import dataclasses
import secrets
import warnings

import keras
import numpy as np

from keras_taylor import backend
from keras_taylor.taylor.batch import expand, stateless_run
from keras_taylor.taylor.training_loss import output_loss
from keras_taylor.trajectory import batches, manifests, sampling, storage
from keras_taylor.trajectory.checkpoints import Checkpoint
from keras_taylor.trajectory.identity import identity, serialized
from keras_taylor.trajectory.layout import BATCH_FIELDS, Layout
from keras_taylor.trajectory.replays import agree, batch_of_round, replayed_loss
from keras_taylor.trajectory.run_sums import RunSums
from keras_taylor.trajectory.selection import Selection
from keras_taylor.trajectory.trajectory import Trajectory, weight_table
from keras_taylor.trajectory.weight_formats import WeightFormat
from keras_taylor.version import __version__

# Reductions for which a part of a batch has, on average, the loss of the batch.
MEANS = ("sum_over_batch_size", "mean")


class Recorder:
    """Keeps the rounds of one training.

    Args:
        model: The model that is trained.
        path: The directory.
        selection: The `Selection` of rounds and examples.
        format_name: The format in which weights are stored, see `record`.
    """

    def __init__(self, model, path, selection, format_name):
        self._model, self._path, self._selection = model, path, selection
        self._format, self._run = WeightFormat(format_name), secrets.token_hex(8)
        self._checkpoint = Checkpoint(model, path, self._run)
        self._writer, self._sums = None, _sums_of(model, selection)
        # Before callbacks change anything.
        self._identity, self._manifest = identity(model), None

    def resume(self):
        """Goes back to the last checkpoint; returns the number of rounds trained before it."""
        trajectory = Trajectory(self._path)
        trajectory.check_model(self._model)
        manifest, recorded = trajectory.manifest, Selection.from_manifest(trajectory.manifest)
        self._check_same(trajectory, recorded)
        self._selection, self._sums = recorded, _sums_of(self._model, recorded)
        self._run, self._manifest = trajectory.run, manifest
        self._checkpoint = Checkpoint(self._model, self._path, self._run)
        number = self._checkpoint.restore()
        shards = self._checkpoint.shards
        trajectory.check_shards(shards)
        self._format.load(self._path, self._run)
        self._format.error = self._checkpoint.weight_error
        if self._sums is not None:
            self._sums.restore(trajectory.first_weights, self._checkpoint.sums)
            self._sums.save(self._path, self._run)
        self._writer = storage.Writer(self._path, self._run, trajectory.layout, shards)
        self._note_error()
        return number - 1

    def _check_same(self, trajectory, recorded):
        """Raises a ValueError unless what is asked for now is what was begun."""
        manifest, model = trajectory.manifest, self._model
        # The seed of a sample is that of the recording.
        asked = dataclasses.replace(self._selection, seed=recorded.seed).description
        asked = asked | {"keep": self._format.name}
        held = {name: manifest[name] for name in asked}
        if held != asked:
            raise ValueError(f"{self._path} holds a recording with {held}, asked for {asked}")
        other = trajectory.other_loss(model) or trajectory.other_optimizer(model.optimizer)
        if other:
            raise ValueError(
                f"{self._path} holds a recording of another model or optimizer: {other}"
            )
        if manifest["seed"] != backend.global_seed():
            warnings.warn(
                f"{self._path} was recorded with seed {manifest['seed']}, now it is "
                f"{backend.global_seed()}: batches that are drawn at random are others",
                stacklevel=4,
            )

    def before(self, number, x, y, sample_weight):
        """Returns the fields of a round that are known before its update; `None` to skip it."""
        if self._sums is not None and number > self._selection.burn_in:
            if self._sums.first is None:
                self._sums.begin(self._weights())
            self._sums.before()
        if not self._selection.keeps(number):
            return None
        if self._writer is None or self._writer.is_between_shards:
            self._save(number, self._writer.shards if self._writer else [])
        return {
            "weights": self._weights(),
            "non_trainable_weights": [v.numpy() for v in self._model.non_trainable_variables],
            "x": batches.arrays(x),
            "y": batches.arrays(y),
            "sample_weight": batches.arrays(sample_weight),
        }

    def after(self, number, kept, loss):
        """Writes a round that is kept when its loss is known, and notes that of all others."""
        if self._sums is not None and number > self._selection.burn_in:
            self._sums.after(number - self._selection.burn_in, loss)
        if kept is not None:
            self._write(number, kept | {"loss": np.float64(loss)})
        if self._sums is not None and self._writer is not None and self._sums.is_new:
            self._sums.save(self._path, self._run)

    def checkpoint(self, number):
        """Saves the state before a round, if any round was kept."""
        if self._writer is not None:
            self._save(number, self._writer.finished_shards())

    def close(self):
        """Closes the last shard."""
        if self._writer is not None:
            self._writer.close()

    def _save(self, number, shards):
        sums = {} if self._sums is None else self._sums.state()
        self._checkpoint.save(number, shards, self._format.error, sums)

    def _write(self, number, kept):
        if self._writer is None:
            self._check_first(number, kept)
        if self._selection.examples is not None:
            kept = _cut(kept, self._places(number, kept))
        if self._writer is None:
            self._begin(kept)
        kept["weights"] = self._format.encode(kept["weights"])
        self._note_error()
        self._widen(kept)
        self._writer.append(number, kept)

    def _note_error(self):
        self._writer.notes = {"weight_error": self._format.error}

    def _widen(self, kept):
        """Lets the layout fit a round, too."""
        layout = self._writer.layout.widened(kept)
        if layout is not self._writer.layout:
            self._manifest = self._manifest | {"layout": layout.description}
            manifests.write(self._path, self._manifest)
            self._writer.layout = layout

    def _check_first(self, number, kept):
        if not all(np.isfinite(weight).all() for weight in kept["weights"]):
            raise ValueError(
                f"the weights are not finite at round {number}, the first to keep: training has "
                "diverged. Lower the learning rate, or begin to record earlier"
            )
        batch = batch_of_round(self._model, kept)
        _check_replay(batch, kept["loss"])
        if self._selection.examples is not None:
            places = self._places(number, kept)
            _tell_all_are_kept(self._selection.examples, len(places))
            _check_examples(batch, batch_of_round(self._model, _cut(kept, places)), places)

    def _places(self, number, kept):
        """Returns which examples of a round are kept."""
        examples, seed = self._selection.examples, self._selection.seed
        return sampling.example_numbers(batches.size(kept["x"]), examples, seed, number)

    def _begin(self, kept):
        first = kept["weights"] if self._sums is None else self._sums.first
        self._format.begin(first)
        encoded = kept | {"weights": self._format.encode(kept["weights"])}
        layout = Layout.of(encoded)
        self._manifest = {
            "run": self._run,
            "model": serialized(self._model),
            "loss": _loss_config(self._model),
            "identity": self._identity,
            "weights": weight_table(self._model),
            "layout": layout.description,
            **self._selection.description,
            "keep": self._format.name,
            "seed": backend.global_seed(),
            "versions": {"keras": keras.version(), "keras_taylor": __version__},
        }
        self._writer = storage.Writer(self._path, self._run, layout)
        self._note_error()
        # The manifest comes last: a directory with one is a recording.
        self._format.save(self._path, self._run, always=self._sums is not None)
        self._writer.write_progress()
        if self._sums is not None:
            self._sums.save(self._path, self._run)
        manifests.write(self._path, self._manifest)

    def _weights(self):
        return [v.numpy() for v in self._model.trainable_variables]


def _sums_of(model, selection):
    """Returns the sums over all rounds, which a sample needs; `None` where there is none."""
    if not selection.is_sampled:
        return None
    return RunSums(model.trainable_variables, [stratum.last for stratum in selection.strata])


def _cut(kept, places):
    return kept | {name: _taken(kept[name], places) for name in BATCH_FIELDS}


def _check_replay(batch, loss):
    replayed = replayed_loss(batch, expand(batch))
    if not agree(replayed, loss):
        raise ValueError(
            f"replaying the first round gives a loss of {replayed}, training had {loss}: "
            "something else than the model's variables and the batch enters the loss, such as a "
            "train_step that changes the batch or the loss, a tensor or variable that is not in "
            "`model.variables`, or random numbers without a `keras.random.SeedGenerator`"
        )


def _tell_all_are_kept(asked, found):
    if found < asked:
        message = f"examples={asked}: the first batch has {found}, all are kept"
        warnings.warn(message, stacklevel=7)


def _check_examples(batch, cut, places):
    """Raises a ValueError where some examples of a batch do not stand for the others."""
    (outputs, *_), (own, *_) = stateless_run(batch), stateless_run(cut)
    pairs = zip(*map(keras.tree.flatten, (_taken(outputs, places), own)), strict=True)
    if not all(np.allclose(one, other, 1e-2, 1e-3, equal_nan=True) for one, other in pairs):
        raise ValueError(
            f"examples={len(places)}: the outputs of these examples are others without the rest of "
            f"their batch, since model {batch.model.name!r} treats examples together "
            "(BatchNormalization in training) or draws random numbers for the whole batch "
            "(Dropout): record whole batches, with examples=None"
        )
    loss = output_loss(batch, outputs)
    if loss.is_own:
        raise ValueError(
            f"examples={len(places)}: of a compute_loss of one's own it is not known whether some "
            "examples have, on average, the loss of their batch: record whole batches, with "
            "examples=None"
        )
    reductions = [one.reduction for one in loss.losses]
    if any(reduction not in MEANS for reduction in reductions):
        raise ValueError(
            f"examples={len(places)}: the loss has the reduction {reductions}, so that some "
            f"examples do not have, on average, the loss of their batch: expected one of {MEANS}, "
            "or record whole batches, with examples=None"
        )


def _loss_config(model):
    config = serialized(model.loss)
    return repr(model.loss) if config is None else config


def _taken(structure, places):
    if structure is None:
        return None
    return keras.tree.map_structure(lambda array: np.asarray(array)[places], structure)
