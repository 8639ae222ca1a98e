"""What F of an affine layer depends on, collected from recorded rounds.

A layer `z = op(h, K) + b`, dense or a convolution, of a model that treats each example by itself
has outputs whose Taylor approximation is affine in its weights V:

    T(V) = c + J V,    J V = D (op(h, K_V) + b_V),    D = df/dz,    c = f - D z.

So h, D and c of each example are all that the model is needed for. In a first layer, with few
weights and many places, J takes less memory than h and D and is kept instead.

They are computed in float64, as bounds are, and rounded to float32 afterwards. A model in float32
has other rectifiers on and other places the largest of a pool wherever two numbers nearly agree: a
slightly different F, whose optimum need not be proved to be one of that which bounds are of.
"""

import math

import tensorflow as tf

from keras_taylor.derivatives import affine
from keras_taylor.optimum import chunks
from keras_taylor.optimum.dense_features import are_apart, run_of
from keras_taylor.taylor.unit_losses import FEW_OUTPUTS, by_example

# Features of one layer up to this size are kept; larger layers take passes through the model.
KEPT_BYTES = 4 * 2**30
# What the Jacobian of one round may take.
ROUND_BYTES = 2**29


def collect(rounds, key):
    """Returns the `Chunks` of a layer over the rounds of F.

    They are in float64 where the model is, in float32 where it has a copy in float64, and in the
    model's own precision where it has none.

    Each has `constant`, c, shaped like the points; `inputs`, h, and `jacobian`, D
    `(examples, outputs, places times units)`, or `rows`, J `(examples, outputs, weights)`; `y`,
    `sample_weight` (if any) and, where rounds are a sample, `weight`, the rounds that each
    example's stands for.

    Returns:
        The `keras_taylor.optimum.chunks.Chunks`, or `None` where the layer is not affine, the
        outputs are not a function of each example's z alone, or all of it is too large to keep.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        key: The key of the layer.
    """
    layer = rounds.affine_layer(key, wide=True)
    if layer is None or not are_apart(rounds, layer):
        return None
    compiled = rounds.replaced_loss(wide=True)
    collect_round = tf.function(
        lambda weight, tensors: _of_round(rounds, layer, compiled, weight, tensors), autograph=False
    )
    limits = rounds.kept(len(rounds)), KEPT_BYTES
    try:
        return chunks.Chunks(chunks.collected(rounds.dataset, collect_round, *limits))
    except chunks.NoFeaturesError:
        return None


def _of_round(rounds, layer, compiled, weight, tensors):
    """Returns the features of one round; none where the layer has none or they are too large."""
    batch = rounds.batch(tensors, compiled, wide=True)
    run = run_of(layer, batch)
    if run is None or not _fits(rounds, layer, run):
        return {}
    jacobian = run.jacobian()
    flat = tf.reshape(jacobian, (-1, run.outputs.shape[1], math.prod(run.before.shape[1:])))
    points = run.still.points[0]
    constant = run.outputs - tf.linalg.matvec(flat, by_example(run.before))
    found = {"constant": tf.reshape(constant, tf.shape(points))}
    if _has_rows(layer, run.inputs.shape, run.before.shape, run.outputs.shape[1]):
        found["rows"] = _rows(layer, run.inputs, jacobian)
    else:
        found |= {"inputs": run.inputs, "jacobian": flat}
    if rounds.is_sampled:
        found["weight"] = tf.fill(tf.shape(run.outputs)[:1], tf.cast(weight, run.outputs.dtype))
    found = {name: tf.cast(tensor, _dtype(rounds, run)) for name, tensor in found.items()}
    found["y"] = batch.y
    return found | ({} if batch.sample_weight is None else {"sample_weight": batch.sample_weight})


def _dtype(rounds, run):
    """Returns the dtype that features are kept in."""
    is_copy = rounds.wide_model is not rounds.model
    return tf.dtypes.as_dtype("float32") if is_copy else run.outputs.dtype


def _fits(rounds, layer, run):
    """Tells whether what is kept has room, before the Jacobian is made."""
    shapes = run.inputs.shape, run.before.shape, run.outputs.shape[1]
    examples = run.outputs.shape[0] or 1
    numbers = min(_numbers_by_inputs(*shapes), _numbers_of_rows(layer, *shapes))
    kept = rounds.kept(len(rounds)) * examples * numbers * _dtype(rounds, run).size
    # The Jacobian of a round is made even where it is not kept, by a product for each output.
    made = examples * _numbers_by_inputs(*shapes) * run.outputs.dtype.size
    has_room, is_small = kept <= KEPT_BYTES, made <= ROUND_BYTES
    return has_room and is_small and shapes[-1] <= FEW_OUTPUTS


def _has_rows(layer, inputs, before, outputs):
    """Tells whether J is what is kept, for the shapes of h and z and the number of outputs."""
    shapes = inputs, before, outputs
    return _numbers_of_rows(layer, *shapes) < _numbers_by_inputs(*shapes)


def _numbers_by_inputs(inputs, before, outputs):
    return math.prod(inputs[1:]) + outputs * math.prod(before[1:])


def _numbers_of_rows(layer, inputs, before, outputs):
    return outputs * (math.prod(layer.kernel.shape) + layer.use_bias * before[-1])


def _rows(layer, inputs, jacobian):
    """Returns J, `(examples, outputs, weights)`, the kernel's entries before the bias's."""
    examples, outputs, units = tf.shape(jacobian)[0], jacobian.shape[1], jacobian.shape[-1]
    jacobian = tf.reshape(jacobian, (examples, outputs, -1, units))
    patches = _patches(layer, inputs)
    patches = tf.reshape(patches, (examples, -1, patches.shape[-1]))
    kernel = tf.einsum("epi,ekpu->ekiu", patches, jacobian)
    rows = tf.reshape(kernel, (examples, outputs, math.prod(layer.kernel.shape)))
    return tf.concat([rows, tf.reduce_sum(jacobian, 2)], 2) if layer.use_bias else rows


def _patches(layer, inputs):
    """Returns the inputs of each place, `(examples, ..., entries of a unit's kernel)`."""
    length = math.prod(layer.kernel.shape[:-1])
    # What a kernel with one entry for each unit finds there.
    identity = tf.reshape(tf.eye(length, dtype=inputs.dtype), (*layer.kernel.shape[:-1], length))
    return affine.apply(layer, inputs, identity)
