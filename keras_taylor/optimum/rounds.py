"""The recorded rounds of a run, as every solve over them reads them."""

import contextlib
import functools
import math
import warnings

import keras
import numpy as np
import tensorflow as tf

from keras_taylor.derivatives import affine
from keras_taylor.derivatives.forward_mode import leaf_layers
from keras_taylor.optimum import certificate
from keras_taylor.taylor import convexity
from keras_taylor.taylor.batch import batch_of, expand, output_loss_at
from keras_taylor.taylor.endings import ends_in_logits
from keras_taylor.taylor.precision import WIDE, WideLoss, floatx, widened
from keras_taylor.taylor.training_loss import training_loss
from keras_taylor.trajectory.replays import TOLERANCE, agree, check_reduced, replayed_loss
from keras_taylor.weights.parts import Part
from keras_taylor.weights.scopes import Scopes

# Rounds up to this size together are kept in memory rather than read again in each pass.
CACHED_BYTES = 2**31
# How far the loss of a round may be from the same in float64, by the precision of the model.
AGREEMENT = {"float64": 1e-10, "float32": 1e-4, "float16": 0.05, "bfloat16": 0.2}

# The distance from 1 to the next number.
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


class Rounds:
    """A trajectory with what is the same for all parts: first weights, distances, losses.

    Args:
        trajectory: A `keras_taylor.Trajectory`.
        model: A compiled model like the one that was recorded.
        loss: A Keras loss; `None` for the compiled one, which then has to be that of the run.

    Attributes:
        is_recorded_loss: Whether the loss is the one that was trained with. Where it is not,
            recorded losses are none of it: `losses` and `average_loss` are NaN.
        scopes: The `Scopes` of the trainable weights.
        dataset: A `tf.data.Dataset` of the rounds that are solved over: pairs of the number of
            rounds that each stands for, float64, and its tensors as of
            `keras_taylor.Trajectory.dataset`.
        is_sampled: Whether these are a sample of the rounds trained.
        first: The first recorded weights `W^1`, float64 arrays.
        first_batch: The `keras_taylor.taylor.batch.Batch` of the first of these rounds.
        loss: The `keras_taylor.taylor.outputs.OutputLoss`.
        wide_model: The model in float64, by which bounds are evaluated; the model itself, with a
            warning, where there is no such copy.
        least: A lower bound of each loss: 0 for those that are never negative, else `-inf`.
        from_logits: Whether the model's only or first output is an activation of logits.

    Raises:
        ValueError: if there are no rounds, the trajectory is damaged, of another model or of
            another loss than the compiled one, or a replay does not give the recorded loss.
    """

    is_sampled = False

    def __init__(self, trajectory, model, loss=None):
        if not len(trajectory):
            raise ValueError(f"trajectory {trajectory.path} has no rounds")
        trajectory.check_model(model)
        check_reduced(loss)
        self.is_recorded_loss = self._is_recorded(trajectory, model, loss)
        self.trajectory, self.model = trajectory, model
        self._compiled = training_loss(model, loss)
        self.scopes = Scopes(model.trainable_variables)
        self._remembered, self._batch_sizes = (None, {}), set()
        with trajectory.damage_told():
            self._read()
        self._tell_not_finite()

    def _is_recorded(self, trajectory, model, loss):
        other = trajectory.other_loss(model, loss)
        if other and loss is None:
            raise ValueError(
                f"trajectory {trajectory.path} was recorded with another loss than model "
                f"{model.name!r} is compiled with: {other}. Compile the model with the loss of the "
                "run, or pass `loss` to solve for another one on purpose"
            )
        return not other

    def _read(self):
        self.dataset, squares = self._cached(self._weighted()), []
        self.first_batch, self._losses = None, []
        # Whole, before anybody reads a part: a cache is only valid once it was read to its end.
        for _, tensors in self.dataset:
            weights, _, _, _, _, loss = self.trajectory.unpack(tensors)
            if self.first_batch is None:
                self.first = [w.numpy().astype("float64") for w in weights]
                first = list(map(tf.constant, self.first))
            self._see(tensors)
            squares.append(self._unit_squares(list(weights), first).numpy())
            self._losses.append(float(loss))
        self._squares = np.asarray(squares)

    @functools.cached_property
    def _unit_squares(self):
        """The squared distance of each unit between weights, a function of two lists."""

        def squares(weights, first):
            pairs = zip(weights, first, strict=True)
            moves = [tf.square(tf.cast(w, WIDE) - f) for w, f in pairs]
            return self.scopes.unit_sums(self.scopes.matrices(moves))

        return tf.function(squares, autograph=False)

    def _see(self, tensors):
        """Finds the loss on the first round; notes batch sizes, and whether losses are negative."""
        if self.first_batch is None:
            self._look(tensors)
        _, _, x, y, sample_weight, _ = self.trajectory.unpack(tensors)
        self._batch_sizes.add(int(keras.tree.flatten(x)[0].shape[0]))
        signed = [] if sample_weight is None else keras.tree.flatten(sample_weight)
        if self.least == 0 and any(map(convexity.is_cross_entropy, self.loss.losses)):
            signed += keras.tree.flatten(y)
        if any(np.min(one, initial=0) < 0 for one in signed):
            self.least = -math.inf

    @property
    def batch_size(self):
        """The examples in each round, or `None` if rounds differ."""
        return next(iter(self._batch_sizes)) if len(self._batch_sizes) == 1 else None

    def known_bound(self, part, radius, horizon):
        """Returns a lower bound of the optimum that needs no pass, and its name."""
        del part, radius, horizon
        return self.least, certificate.LOSS

    def _tell_not_finite(self):
        """Warns if a layer has weights that are not finite, which losses need not show."""
        parts = (Part(self.scopes, f"layer:{layer}") for layer in self.scopes.layers)
        layers = [part.layer for part in parts if not math.isfinite(self.travelled(part))]
        if layers:
            warnings.warn(
                f"trajectory {self.trajectory.path} has rounds in which weights of "
                f"{', '.join(layers)} are not finite: training diverged. Optima over these rounds "
                "are NaN, those of other layers too; `decompose` with fewer `rounds` has those of "
                "the rounds before",
                stacklevel=5,
            )

    def _weighted(self):
        one = tf.constant(1.0, "float64")
        return self.trajectory.dataset().map(lambda *tensors: (one, tensors))

    def _cached(self, dataset):
        """Returns a dataset that is kept in memory after its first reading, if it is not large."""
        files = self.trajectory.path.glob("*.tfrecord")
        size = sum(file.stat().st_size for file in files)
        return dataset.cache() if size <= CACHED_BYTES else dataset

    def _look(self, tensors):
        """Finds the loss and the model in float64 on the first of the rounds."""
        self.first_batch = self.batch(tensors)
        expanded = expand(self.first_batch)
        self.loss, self._first_outputs = expanded.loss, expanded.outputs
        self.from_logits = ends_in_logits(expanded.outputs)
        is_positive = expanded.penalty is None and self.loss.is_nonnegative
        self.least = 0.0 if is_positive else -math.inf
        self._check_convex()
        self._check_replay(tensors, expanded)
        self._widen(tensors, expanded)

    def _check_convex(self):
        """Raises a ValueError where nothing bounds the Taylor optimum from below."""
        if self.loss.not_convex:
            raise ValueError(
                f"{', '.join(self.loss.not_convex)} is not known to be convex in the output of "
                f"model {self.model.name!r}, so that no lower bound of the Taylor optimum can be "
                "proved. If it is convex, give the loss's class or function, or the model's for a "
                "compute_loss of its own, an attribute `convex_in_output = True`; or pass another "
                "`loss`"
            )

    def _check_replay(self, tensors, expanded):
        """Raises a ValueError unless the model and the loss give the loss that was recorded."""
        if not self.is_recorded_loss:
            return
        recorded = float(self.trajectory.unpack(tensors)[-1])
        replayed = replayed_loss(self.first_batch, expanded)
        if not agree(replayed, recorded, max(TOLERANCE, *self._agreements())):
            raise ValueError(
                f"trajectory {self.trajectory.path} was recorded from another model or loss: "
                f"replaying its first round with model {self.model.name!r} gives a loss of "
                f"{replayed}, training had {recorded}"
            )

    def _agreements(self):
        return [AGREEMENT[dtype] for dtype in self._dtypes()]

    def _widen(self, tensors, expanded):
        """Finds the model in float64, and holds it against the model on the first round."""
        if self.loss.is_own:
            self.wide_model, self._is_wide = self.model, self._dtypes() == {WIDE}
            if not self._is_wide:
                self._leave_narrow("has a compute_loss of its own, which may compute in float32")
            return
        self.wide_model, self._is_wide = widened(self.model), True
        if self.wide_model is self.model or self._is_same(tensors, expanded):
            return
        self._leave_narrow(
            "has no copy in float64 that computes the same (it cannot be read back from its "
            "configuration, or draws random numbers)"
        )

    def _leave_narrow(self, reason):
        self.wide_model, self._is_wide = self.model, False
        warnings.warn(
            f"model {self.model.name!r} {reason}: bounds are evaluated in the model's precision, "
            "with a wider allowance for rounding",
            stacklevel=7,
        )

    def _is_same(self, tensors, expanded):
        if self.wide_model is None:
            return False
        self._method = self.first_batch.method
        batch = self.batch(tensors, self.replaced_loss(wide=True), wide=True)
        try:
            wide = expand(batch)
            found = float(output_loss_at(batch, wide, wide.points))
        except (AttributeError, TypeError, ValueError, tf.errors.OpError):
            return False  # A layer that asks for float32 itself.
        expected = float(output_loss_at(self.first_batch, expanded, expanded.points))
        return np.isclose(found, expected, max(self._agreements()), 0.0, equal_nan=True)

    def _dtypes(self):
        """Returns the floating dtypes that the model computes in; inputs may be integers."""
        layers = self.model._flatten_layers(include_self=False)
        found = {w.dtype.name for w in self.first_batch.weights} | {x.compute_dtype for x in layers}
        # A loss of one's own may use Keras losses, which compute in Keras' dtype.
        found |= {keras.config.floatx()} if self.loss.is_own else set()
        return found & set(AGREEMENT)

    @property
    def unit_roundoff(self):
        """The relative error of one operation in the precision that bounds are evaluated in."""
        return max(EPSILON[dtype] for dtype in ({WIDE} if self._is_wide else self._dtypes()))

    def __len__(self):
        return len(self._losses)

    def kept(self, horizon):
        """Returns how many of the first rounds are solved over: here all of them."""
        return horizon

    def checked(self, horizon):
        """Returns how many of the first rounds what is found is held against: here none."""
        return 0

    def losses(self, horizon=None):
        """Returns the recorded losses of the first rounds (of all, by default)."""
        return np.asarray(self._losses[:horizon]) + self._unknown

    def average_loss(self, horizon=None):
        """Returns the mean of the recorded losses of the first rounds (of all, by default)."""
        losses = self._losses[:horizon]
        return math.fsum(losses) / len(losses) + self._unknown

    @property
    def _unknown(self):
        """What makes NaN of losses that are none of the loss solved for."""
        return 0.0 if self.is_recorded_loss else math.nan

    def travelled(self, part, horizon=None):
        """Returns the largest distance of a `Part` from the first weights within some rounds."""
        units = list(part.units)
        return float(np.sqrt(self._squares[:horizon, units].sum(axis=1).max()))

    def replaced_loss(self, function=lambda loss: loss, wide=False):
        """Returns the loss as Keras compiles it, with `function(loss)` for each output's loss.

        Args:
            function: Function from a Keras loss to a Keras loss.
            wide: Whether it is computed in float64, where the model is.
        """
        if self.loss.is_own:
            return self._compiled
        is_wide = wide and self._is_wide
        wrapped = (lambda loss: WideLoss(function(loss))) if is_wide else function
        with floatx(WIDE) if is_wide else contextlib.nullcontext():
            return self.loss.replaced(wrapped, self.first_batch.y, self._first_outputs).compiled

    def affine_layer(self, key, wide=False):
        """Returns the layer of a key if it is dense or convolutional, or `None`.

        Args:
            key: The key of the layer.
            wide: Whether that of the model in float64.
        """
        model = self.wide_model if wide else self.model
        keys = self.scopes.keys_of(model.trainable_variables)
        found = [
            layer
            for layer in leaf_layers(model)
            if key in (keys.get(id(variable)) for variable in layer.trainable_variables)
        ]
        return found[0] if len(found) == 1 and affine.is_affine(found[0]) else None

    def remember(self, layer, kind, make):
        """Returns `make()`, made once for the latest layer: what is large and asked for in a row.

        Args:
            layer: The key of the layer.
            kind: A name for what is made.
            make: Function without arguments.
        """
        if self._remembered[0] != layer:
            self._remembered = layer, {}
        made = self._remembered[1]
        if kind not in made:
            made[kind] = make()
        return made[kind]

    def batch(self, tensors, compiled=None, wide=False):
        """Returns the `Batch` of a round, in a graph.

        Args:
            tensors: A round's flat tuple of tensors from `dataset`.
            compiled: A loss as Keras compiles it; by default that of the rounds.
            wide: Whether the model and the weights are those in float64.
        """
        weights, state, x, y, sample_weight, _ = self.trajectory.unpack(tensors)
        model, method = self.model, None
        if wide and self.wide_model is not self.model:
            model, method = self.wide_model, self._method
            variables = model.non_trainable_variables
            weights = [tf.cast(weight, WIDE) for weight in weights]
            state = [tf.cast(s, v.dtype) for s, v in zip(state, variables, strict=True)]
        loss = self._compiled if compiled is None else compiled
        options = {"weights": list(weights), "state": list(state), "method": method}
        return batch_of(model, x, y, sample_weight, loss, **options)
