"""A model on one batch, expanded once: what all Taylor losses of a round share."""

import contextlib

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_taylor import backend
from keras_taylor.derivatives import expansion
from keras_taylor.derivatives.method import method_of
from keras_taylor.taylor.outputs import OutputLoss
from keras_taylor.weights.scopes import SCOPES, Scopes


class Batch:
    """A model on one batch: what all Taylor losses of a round share. Arguments as `taylor_loss`."""

    def __init__(
        self,
        model,
        x,
        y,
        sample_weight=None,
        loss=None,
        training=True,
        weights=None,
        state=None,
    ):
        _check_built(model)
        self.model, self.training = model, training
        self.x = _inputs(model, x)
        self.y, self.sample_weight = _tensors(y), _tensors(sample_weight)
        self.output_loss = loss if isinstance(loss, OutputLoss) else OutputLoss(model, loss)
        self.method = method_of(model, self.x, training)
        self.scopes = Scopes(model.trainable_variables)
        self.weights = weights or backend.snapshot(model.trainable_variables)
        self._state = state if weights else backend.snapshot(model.non_trainable_variables)
        self._run = self._tape = self._penalty = None

    def checked(self, arrays, what):
        """Returns arrays shaped like the weights as tensors of the weights' dtypes.

        Raises:
            ValueError: if shapes or dtypes are wrong, or a value is not finite.
        """
        arrays = list(arrays)
        self.scopes.check_shapes(arrays, what)
        for array in arrays:
            dtype = keras.backend.standardize_dtype(getattr(array, "dtype", type(array)))
            if not dtype.startswith(("float", "bfloat")):
                raise ValueError(f"{what} has dtype {dtype}: expected floating-point arrays")
            if not tf.is_symbolic_tensor(array) and not np.isfinite(np.asarray(array)).all():
                raise ValueError(f"{what} has a value that is not finite: expected numbers")
        return [
            ops.cast(ops.convert_to_tensor(array), weight.dtype)
            for array, weight in zip(arrays, self.weights, strict=True)
        ]

    def displacement(self, comparator):
        """Returns V - W for a comparator V, checked."""
        comparator = self.checked(comparator, "comparator")
        return [v - w for v, w in zip(comparator, self.weights, strict=True)]

    def part(self, tensors, name):
        """Returns the tensors of the network or of one layer, `None` in place of the others."""
        if name == "network":
            return list(tensors)
        if name not in self.scopes.layers:
            raise ValueError(
                f"unknown scope {name!r}: expected one of {', '.join(SCOPES)} (where more than one "
                f"value can be returned), or a layer: {', '.join(self.scopes.layers)}"
            )
        return self.scopes.layer_part(tensors, name)

    def zero_outside(self, tensors, name):
        """Returns the tensors with those outside of a part set to zero."""
        part = self.part(tensors, name)
        return [
            ops.zeros_like(tensor) if kept is None else kept
            for tensor, kept in zip(tensors, part, strict=True)
        ]

    def forward(self):
        """Runs the model and returns the points at which its outputs are expanded."""
        options = expansion.call_options(self.model, self.training)
        outputs, _, penalties = self.model.stateless_call(
            self.weights, self._state, self.x, return_losses=True, **options
        )
        self._run = outputs, penalties
        return self.output_loss.points(self.y, outputs)

    def expand(self, parts):
        """Returns outputs, the points of expansion, and for each part their tangents."""
        points, tangents = expansion.expand(
            self.method, self.model, self.forward, parts, self.weights, self.x
        )
        return self._run[0], points, tangents

    def value_and_gradient(self, part):
        """Returns the Taylor loss of a part and its gradient in all weights."""
        with self.differentiable():
            outputs, points, (tangent,) = self.expand([part])
        moved = [point + step for point, step in zip(points, tangent, strict=True)]
        with tf.GradientTape() as tape:
            tape.watch(moved)
            value = self.output_loss(self.y, outputs, moved, self.sample_weight)
        upstream = expansion.gradients(tape, value, moved)
        value, slopes = self.with_penalty(value, part)
        return value, _added(self.pull(points, upstream), slopes)

    def curvature_product(self, part, direction):
        """Returns the Hessian at a part's displacement times a direction, for all weights."""
        with self.differentiable():
            outputs, points, (tangent, along) = self.expand([part, direction])
        moved = [point + step for point, step in zip(points, tangent, strict=True)]
        return self.pull(points, self._bent(outputs, moved, along))

    def curvature_sample(self, seed):
        """Returns a random list like the weights whose covariance is about the curvature at W.

        It is `J^T v` with v, for each example, the curvature H of the loss in its outputs times
        normal noise, scaled. The covariance of v has the trace of H, and is H where that is a
        multiple of a projection: for squared error, and for two classes.

        Args:
            seed: A scalar integer tensor.
        """
        with self.differentiable():
            points = self.forward()
        noise = [
            tf.random.stateless_normal(tf.shape(point), (seed, number), dtype=point.dtype)
            for number, point in enumerate(points)
        ]
        bent = self._bent(self._run[0], points, noise)
        return self.pull(points, [_rescaled(b, n) for b, n in zip(bent, noise, strict=True)])

    def _bent(self, outputs, points, along):
        """Returns the Hessian of the loss in the points, times a list like these."""
        with tf.GradientTape() as outer:
            outer.watch(points)
            with tf.GradientTape() as inner:
                inner.watch(points)
                value = self.output_loss(self.y, outputs, points, self.sample_weight)
            slopes = expansion.gradients(inner, value, points)
            slope = sum(ops.sum(s * step) for s, step in zip(slopes, along, strict=True))
        return expansion.gradients(outer, slope, points)

    @contextlib.contextmanager
    def differentiable(self):
        """Context of the run after which `pull` works."""
        with tf.GradientTape() as self._tape:
            self._tape.watch(self.weights)
            yield

    def pull(self, points, upstream):
        """Returns `J^T u` for a list u like the points, as a list like the weights."""
        return expansion.gradients(self._tape, points, self.weights, upstream)

    def outputs(self):
        """Returns the outputs of the last run."""
        return self._run[0]

    def penalties(self):
        """Returns the penalties of the last run."""
        return self._run[1]

    def output_loss_at(self, outputs, points, tangents):
        """Returns the loss with the points moved by tangents, without penalties."""
        moved = [point + step for point, step in zip(points, tangents, strict=True)]
        return self.output_loss(self.y, outputs, moved, self.sample_weight)

    def loss_at(self, outputs, points, tangents, part):
        """Returns the Taylor loss of a part that moves the points by these tangents."""
        return self.with_penalty(self.output_loss_at(outputs, points, tangents), part)[0]

    def with_penalty(self, value, part):
        """Returns a loss plus the expanded penalty, and the penalty's gradient (or `None`)."""
        if not self._run[1]:
            return value, None
        penalty, slopes = self.penalty()
        steps = zip(slopes, part, strict=True)
        moved = sum(ops.sum(slope * step) for slope, step in steps if step is not None)
        return value + penalty + moved, slopes

    def penalty(self):
        """Returns the sum of the model's penalties and its gradient, a list like the weights."""
        if self._penalty is None:
            with tf.GradientTape() as tape:
                tape.watch(self.weights)
                self.forward()
                total = sum(ops.sum(penalty) for penalty in self._run[1])
            self._penalty = total, expansion.gradients(tape, total, self.weights)
        return self._penalty


def _check_built(model):
    if not model.built or not model.variables:
        raise ValueError(
            f"model {model.name!r} is not built or has no weights: call it on a batch or "
            "`model.build(input_shape)` first"
        )


def _tensors(values):
    if values is None:
        return None
    return keras.tree.map_structure(ops.convert_to_tensor, values)


def _inputs(model, x):
    """Returns inputs as tensors of the dtype that the model would cast them to itself."""
    declared = keras.tree.flatten(getattr(model, "inputs", None) or [])
    if isinstance(x, dict):
        dtypes = {tensor.name: tensor.dtype for tensor in declared}
        return {name: _input(value, dtypes.get(name)) for name, value in x.items()}
    flat = keras.tree.flatten(x)
    dtypes = [tensor.dtype for tensor in declared]
    if len(dtypes) != len(flat):
        dtypes = [model.compute_dtype] * len(flat)
    cast = [_input(value, dtype) for value, dtype in zip(flat, dtypes, strict=True)]
    return keras.tree.pack_sequence_as(x, cast)


def _input(value, dtype):
    tensor = keras.tree.map_structure(ops.convert_to_tensor, value)
    if dtype is None or not tf.is_tensor(tensor) or not tensor.dtype.is_floating:
        return tensor
    return ops.cast(tensor, dtype)


def _rescaled(bent, noise):
    """Returns `H e`, for normal e, scaled to a squared length of `<e, H e>` in each example."""
    axes = list(range(1, len(bent.shape)))
    square = ops.sum(bent * bent, axis=axes, keepdims=True)
    trace = ops.sum(bent * noise, axis=axes, keepdims=True)
    return bent * ops.sqrt(ops.divide_no_nan(ops.maximum(trace, 0), square))


def _added(gradient, slopes):
    if slopes is None:
        return gradient
    return [g + slope for g, slope in zip(gradient, slopes, strict=True)]
