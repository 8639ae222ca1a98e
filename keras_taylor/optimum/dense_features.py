"""What F of a dense layer depends on, collected from recorded rounds in one pass, in float64."""

import copy
import dataclasses
import math

import tensorflow as tf
from keras import layers

from keras_taylor.derivatives.expansion import gradients
from keras_taylor.derivatives.forward_mode import hooked, leaf_layers
from keras_taylor.optimum import chunks
from keras_taylor.optimum.dense_graphs import DenseGraphs
from keras_taylor.optimum.output_curvature import by_output
from keras_taylor.taylor.batch import Expanded, expand, output_loss_at
from keras_taylor.taylor.unit_losses import by_example, is_example_wise, recorder

# Features of one layer up to this size are kept; larger layers take passes through the model.
KEPT_BYTES = 3 * 2**30
# The most outputs for which the outputs' Jacobian is worth its time.
MOST_OUTPUTS = 1024


def collect(rounds, key):
    """Returns the `Features` of a layer over all rounds, or `None` where it has no such features.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        key: The key of the layer.
    """
    layer = rounds.affine_layer(key, wide=True)
    is_dense = type(layer) is layers.Dense and are_apart(rounds, layer)
    return _collect(rounds, layer) if is_dense else None


def _collect(rounds, layer):
    """Returns a layer's `Features` of all rounds, or `None` where they are not for this way."""
    compiled = rounds.replaced_loss(wide=True)
    collect = tf.function(
        lambda weight, tensors: _of_round(rounds, layer, compiled, weight, tensors), autograph=False
    )
    samples = [rounds.dataset, rounds.check_dataset] if rounds.is_sampled else [rounds.dataset]
    limits = rounds.kept(len(rounds)) + rounds.checked(len(rounds)), KEPT_BYTES
    try:
        found = [Features(chunks.collected(dataset, collect, *limits)) for dataset in samples]
    except chunks.NoFeaturesError:
        return None
    if len({one.batch_size for one in found}) > 1:
        return None
    graphs = DenseGraphs(rounds, found[0].batch_size)
    for one in found:
        one.graphs, one.check = graphs, found[-1]
    return found[0]


class Features(chunks.Chunks):
    """What F of a dense layer depends on, over the examples of all rounds.

    Args:
        by_round: An iterator over dictionaries, one for each round, of tensors whose first axis is
            that of its examples: `inputs`, h with a last column of ones where the layer has a bias;
            `before`, z; and either `points`, f, `y`, `sample_weight` (if any), `jacobian`, D (if z
            is not f itself), or `loss`, `linear`, `D' dl/df`, and `curvature`, `D' H D`. Where
            rounds are a sample also `weight`, the rounds that each example's stands for. Where the
            layer acts on several places of an example, h, z and D have an axis of these before the
            last.

    Attributes:
        graphs: The `DenseGraphs` that the layer and its units share.
        check: The `Features` of the check sample, where rounds are a sample, else these.
    """

    def __init__(self, by_round):
        super().__init__(by_round)
        self.graphs, self.check = None, None

    def of_unit(self, unit):
        """Returns the features of one unit of the layer."""
        found = copy.copy(self)
        found.chunks = [chunk | dict(_unit_tensors(chunk, unit)) for chunk in self.chunks]
        found.check = self.check if self.check in (None, self) else self.check.of_unit(unit)
        return found


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of a model that kept what one affine layer did, from `run_of`.

    Args:
        inputs: The layer's inputs.
        before: Its pre-activation z.
        still: The `keras_taylor.taylor.batch.Expanded` of the run, along no direction.
        outputs: The outputs f as a matrix with a row for each example.
        tape: A persistent tape of the run.
    """

    inputs: tf.Tensor
    before: tf.Tensor
    still: Expanded
    outputs: tf.Tensor
    tape: tf.GradientTape

    def jacobian(self):
        """Returns `df/dz`, `(examples, outputs, ..., units)`."""
        return _jacobian(self.tape, self.outputs, self.before)


def run_of(layer, batch):
    """Returns the `Run` of an affine layer's model on a batch.

    `None` where the layer runs more than once, the model has too many or several outputs, or
    penalties. The model is one whose examples `are_apart`.
    """
    records = []
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(batch.weights)
        with hooked([layer], lambda *pair: recorder(*pair, records)):
            still = expand(batch)
        flat = by_example(still.points[0])
    if not _is_simple(batch, still, records):
        return None
    return Run(*records[0][1:], still, flat, tape)


def _of_round(rounds, layer, compiled, weight, tensors):
    """Returns the features of one round, and none where the layer has no such features."""
    batch = rounds.batch(tensors, compiled, wide=True)
    run = run_of(layer, batch)
    if run is None:
        return {}
    inputs, before, still = run.inputs, run.before, run.still
    if layer.use_bias:
        inputs = tf.concat([inputs, tf.ones_like(inputs[..., :1])], -1)
    has_places = len(before.shape) > 2
    if has_places:
        inputs, before = _with_one_axis_of_places(inputs), _with_one_axis_of_places(before)
    found, points = {"inputs": inputs, "before": before}, still.points[0]
    if rounds.is_sampled:
        found["weight"] = tf.fill(tf.shape(inputs)[:1], tf.cast(weight, inputs.dtype))
    jacobian = None if run.before is points else run.jacobian()
    if has_places and jacobian is not None:
        jacobian = _with_one_axis_of_places(jacobian, leading=2)
    is_shorter = not has_places and layer.units < run.outputs.shape[1]
    if jacobian is not None and still.loss.is_quadratic and is_shorter:
        return found | _quadratic(batch, still, jacobian)
    found |= {"points": points, "y": batch.y}
    found |= {} if jacobian is None else {"jacobian": jacobian}
    return found | ({} if batch.sample_weight is None else {"sample_weight": batch.sample_weight})


def _with_one_axis_of_places(tensor, leading=1):
    """Returns a tensor with the axes between the leading ones and the last as one."""
    shape = tensor.shape[leading:]
    head = tf.shape(tensor)[:leading]
    return tf.reshape(tensor, tf.concat([head, [math.prod(shape[:-1]), shape[-1]]], 0))


def _jacobian(tape, outputs, before):
    """Returns the outputs' Jacobian in the pre-activation, `(examples, outputs, ..., units)`."""
    if math.prod(before.shape[1:]) >= outputs.shape[1]:
        return tape.batch_jacobian(outputs, before)
    # The pullback is linear in its argument, and its Jacobian takes one product for each unit.
    upstream = tf.zeros_like(outputs)
    with tf.GradientTape() as outer:
        outer.watch(upstream)
        pulled = tape.gradient(outputs, before, upstream)
    jacobian = outer.batch_jacobian(pulled, upstream)
    axes = list(range(len(jacobian.shape)))
    return tf.transpose(jacobian, [0, axes[-1], *axes[1:-1]])


def _is_simple(batch, still, records):
    points = still.points
    return (
        len(points) == len(records) == 1
        and None not in records[0][1].shape[1:]
        and tf.is_tensor(batch.y)
        and None not in points[0].shape[1:]
        and math.prod(points[0].shape[1:]) <= MOST_OUTPUTS
        and still.penalty is None
    )


def are_apart(rounds, layer):
    """Tells whether a layer's features can be told apart by example, and vary with all of it.

    That is where the model treats each example by itself, weights of examples count as often as
    they say, kernel and bias are trained, and no layer behind is a convolution in groups, whose
    gradients TensorFlow does not vectorise.
    """
    own = [layer.kernel, *([layer.bias] if layer.use_bias else [])]
    is_trained = list(map(id, layer.trainable_variables)) == list(map(id, own))
    models = rounds.model, rounds.wide_model
    order = next(found for found in map(leaf_layers, models) if layer in found)
    behind = order[order.index(layer) + 1 :]
    has_groups = any(getattr(other, "groups", 1) != 1 for other in (layer, *behind))
    # Only then do weights of examples, times a number, make the loss that number of times it.
    reductions = [loss.reduction for loss in rounds.loss.losses]
    is_weighable = not rounds.is_sampled or "mean_with_sample_weight" not in reductions
    return is_trained and is_weighable and not has_groups and is_example_wise(rounds.first_batch)


def _quadratic(batch, still, jacobian):
    """Returns the second-order expansion, at z, of a loss that is quadratic in the outputs."""
    points, shape = still.points[0], tf.shape(still.points[0])

    def slopes(moved):
        with tf.GradientTape() as tape:
            tape.watch(moved)
            value = output_loss_at(batch, still, [moved])
        return gradients(tape, value, [moved])[0]

    def column(vector):
        # The slope is linear in the outputs.
        return by_example(slopes(points + tf.reshape(vector, shape))) - slope

    def by_output_alone():
        return tf.matmul(jacobian, curvature * jacobian, transpose_a=True)

    def by_columns():
        columns = tf.map_fn(column, tf.transpose(jacobian, (2, 0, 1)))
        return tf.einsum("epu,vep->euv", jacobian, columns)

    slope, curvature, is_apart = by_output(slopes, points)
    slope, curvature = by_example(slope), by_example(curvature)[..., None]
    examples, value = shape[0], output_loss_at(batch, still, [points])
    return {
        "loss": tf.fill((examples,), value / tf.cast(examples, points.dtype)),
        "linear": tf.einsum("epu,ep->eu", jacobian, slope),
        "curvature": tf.cond(is_apart, by_output_alone, by_columns),
    }


def _unit_tensors(chunk, unit):
    one = slice(unit, unit + 1)
    yield "before", chunk["before"][..., one]
    if "curvature" in chunk:
        yield "linear", chunk["linear"][:, one]
        yield "curvature", chunk["curvature"][:, one, one]
    elif "jacobian" in chunk:
        yield "jacobian", chunk["jacobian"][..., one]
    else:
        before = chunk["before"]
        examples, *places, units = tf.shape(before).numpy()
        # Of the outputs at all places, those of the unit at its own.
        identity = tf.eye(math.prod(places), dtype=before.dtype)[:, None, :, None]
        column = identity * tf.one_hot(unit, units, dtype=before.dtype)[None, :, None, None]
        jacobian = tf.reshape(column, [1, -1, *places, 1])
        yield "jacobian", tf.tile(jacobian, [examples] + [1] * (len(jacobian.shape) - 1))
