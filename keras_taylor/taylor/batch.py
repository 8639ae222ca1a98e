"""A model on one batch, and the same to first order in its weights.

All Taylor losses of a round come from one value, `Expanded`: the outputs, the points at which the
loss takes them, the points' tangents along some directions, the penalties, and the pullback. The
functions on it are pure; the public functions, `TaylorModel` and the solver share them.
"""

import contextlib
import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf
from keras import ops

from keras_taylor import backend
from keras_taylor.derivatives import expansion
from keras_taylor.derivatives.method import method_of
from keras_taylor.taylor.outputs import OutputLoss
from keras_taylor.taylor.own_losses import has_own
from keras_taylor.taylor.training_loss import output_loss, training_loss
from keras_taylor.weights.scopes import Scopes


@dataclasses.dataclass(frozen=True)
class Batch:
    """A model at some weights on one batch; made by `batch_of`.

    Args:
        model: The model.
        x: Inputs, as tensors of the dtypes that the model computes with.
        y: Targets, as tensors.
        sample_weight: Sample weights as tensors, or `None`.
        compiled: The loss, from `keras_taylor.taylor.training_loss.training_loss`.
        training: Whether the model runs in training mode.
        method: How the model is differentiated, see `keras_taylor.derivatives.expansion`.
        scopes: The `Scopes` of the trainable weights.
        weights: The trainable weights W at which the model is expanded, tensors.
        state: The other variables' values, tensors.
    """

    model: keras.Model
    x: object
    y: object
    sample_weight: object
    compiled: object
    training: bool
    method: str
    scopes: Scopes
    weights: list
    state: list | None


@dataclasses.dataclass(frozen=True)
class Expanded:
    """A model's outputs on a batch, to first order in the weights; made by `expand`.

    Args:
        loss: The `OutputLoss`.
        outputs: The outputs f(W), in the model's structure.
        points: The tensors at which the loss takes the outputs: these or their logits.
        directions: The directions V - W, lists of tensors like the weights or `None`.
        tangents: For each direction the tangents of the points.
        penalty: The sum of the model's penalties, a scalar; `None` without any.
        penalty_gradient: The penalty's gradient, tensors like the weights; `None` without any.
        pullback: The function `u -> J^T u` from tensors like the points to tensors like the
            weights, with the Jacobian J of the points in the weights.
    """

    loss: OutputLoss
    outputs: object
    points: list
    directions: list
    tangents: list
    penalty: object
    penalty_gradient: list | None
    pullback: Callable


def batch_of(
    model,
    x,
    y,
    sample_weight=None,
    loss=None,
    training=True,
    weights=None,
    state=None,
    method=None,
):
    """Returns a `Batch`.

    Args:
        model: A built Keras model with trainable weights.
        x: Inputs, as in `fit`.
        y: Targets, as in `fit`.
        sample_weight: As in `fit`.
        loss: A Keras loss, or one that `training_loss` returned; `None` for the model's own.
        training: Whether the model runs in training mode.
        weights: Trainable weights to expand at; by default the model's present ones.
        state: Values of the other variables, where weights are given.
        method: How the model is differentiated, where that is known; checked by default.

    Raises:
        ValueError: if the model is not built, has no trainable weights or no loss, or a layer is
            not differentiated right.
    """
    if not model.built or not model.variables:
        raise ValueError(
            f"model {model.name!r} is not built or has no weights: call it on a batch or "
            "`model.build(input_shape)` first"
        )
    x = _inputs(model, x)
    if weights is None:
        _refuse_own_step(model, loss)
        weights = backend.snapshot(model.trainable_variables)
        state = backend.snapshot(model.non_trainable_variables)
    return Batch(
        model=model,
        x=x,
        y=_tensors(y),
        sample_weight=_tensors(sample_weight),
        compiled=training_loss(model, loss),
        training=training,
        method=method or method_of(model, x, training),
        scopes=Scopes(model.trainable_variables),
        weights=list(weights),
        state=state,
    )


def expand(batch, directions=(), run=None):
    """Runs a model once and returns it to first order along some directions.

    Args:
        batch: A `Batch`.
        directions: For each direction a list of tensors like the weights, with `None` for weights
            that do not move.
        run: Function without arguments that runs the model at the batch's weights and returns its
            outputs, a list of penalties, and the other variables' values after it, `None` where
            these are the present ones; by default a run that changes nothing.

    Returns:
        The `Expanded`.
    """
    run = run or (lambda: stateless_run(batch))

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(batch.weights)
        points, tangents, (loss, outputs, penalties) = expanded_points(
            batch, directions, run, tape.stop_recording
        )
        penalty = loss.penalty(batch.y, outputs, points, batch.sample_weight, penalties)
    penalty_gradient = None
    if penalty is not None:
        penalty_gradient = expansion.gradients(tape, penalty, batch.weights)
    return Expanded(
        loss=loss,
        outputs=outputs,
        points=points,
        directions=list(directions),
        tangents=tangents,
        penalty=penalty,
        penalty_gradient=penalty_gradient,
        pullback=lambda upstream: expansion.gradients(tape, points, batch.weights, upstream),
    )


def expanded_points(batch, directions, run, paused=contextlib.nullcontext):
    """Returns the points, their tangents for each direction, and `(loss, outputs, penalties)`.

    Args:
        batch: A `Batch`.
        directions: As of `expand`.
        run: As of `expand`.
        paused: As of `keras_taylor.derivatives.expansion.expand`.
    """

    def forward():
        outputs, penalties, state = run()
        loss = output_loss(batch, outputs, penalties, state)
        return loss.sources(outputs), (loss, outputs, penalties)

    _, found, rest = expansion.expand(
        batch.method, batch.model, forward, list(directions), batch.weights, batch.x, paused
    )
    loss, outputs, _ = rest
    return *loss.expanded_points(outputs, found), rest


def stateless_run(batch):
    """Returns a model's outputs, penalties and other variables' values, changing nothing."""
    outputs, state, penalties = batch.model.stateless_call(
        batch.weights,
        batch.state,
        batch.x,
        return_losses=True,
        **expansion.call_options(batch.model, batch.training),
    )
    return outputs, penalties, state


def moved(expanded, number):
    """Returns the points moved along the direction of that number."""
    pairs = zip(expanded.points, expanded.tangents[number], strict=True)
    return [point + tangent for point, tangent in pairs]


def output_loss_at(batch, expanded, points):
    """Returns the loss with the outputs at other points, a scalar, without the penalty."""
    return expanded.loss(batch.y, expanded.outputs, points, batch.sample_weight)


def penalised(expanded, number, value):
    """Returns a loss plus the expanded penalty along the direction of that number."""
    if expanded.penalty is None:
        return value
    pairs = zip(expanded.penalty_gradient, expanded.directions[number], strict=True)
    changes = [ops.sum(gradient * move) for gradient, move in pairs if move is not None]
    # Layers may have dtypes of their own.
    return value + sum(ops.cast(term, value.dtype) for term in [expanded.penalty, *changes])


def loss_at(batch, expanded, number):
    """Returns the Taylor loss along the direction of that number, a scalar."""
    value = output_loss_at(batch, expanded, moved(expanded, number))
    return penalised(expanded, number, value)


def value_and_gradient(batch, direction):
    """Returns the Taylor loss at W + direction, and its gradient in all weights."""
    expanded = expand(batch, [direction])
    points = moved(expanded, 0)
    with tf.GradientTape() as tape:
        tape.watch(points)
        value = output_loss_at(batch, expanded, points)
    gradient = expanded.pullback(expansion.gradients(tape, value, points))
    if expanded.penalty is not None:
        pairs = zip(gradient, expanded.penalty_gradient, strict=True)
        gradient = [one + other for one, other in pairs]
    return penalised(expanded, 0, value), gradient


def _refuse_own_step(model, loss):
    if loss is None and has_own(model, "train_step"):
        hint = "" if model.loss is None else " (`model.loss`, if that is what it minimises)"
        raise ValueError(
            f"model {model.name!r} has a train_step of its own, so that the loss it trains on is "
            f"not known: pass `loss`{hint}"
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
