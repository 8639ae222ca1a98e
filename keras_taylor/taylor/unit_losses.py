"""Taylor losses of all units, in chunks of bounded memory.

A unit of a dense or convolutional layer moves one channel of the layer's pre-activation z, and all
units of all such layers need the same derivative of the outputs in z. So where a model has few
outputs and treats each example by itself, one vector-product an output serves all units:

    tangent of output k for unit j = sum over places of (df_k/dz)[.., j] (dz)[.., j].

Elsewhere each unit has its own Jacobian-vector product, vectorised in chunks.
"""

import functools
import math

import keras
import tensorflow as tf
from keras import layers, ops

from keras_taylor.derivatives import affine
from keras_taylor.derivatives.forward_mode import hooked, leaf_layers
from keras_taylor.taylor.batch import expand, expanded_points, output_loss_at, stateless_run

# Numbers in a chunk of tangents, and the outputs up to which a vector-product each is faster.
CHUNK_ELEMENTS = 2**24
FEW_OUTPUTS = 64
# What is assumed of a length that is open while a graph is traced, to bound memory.
OPEN_LENGTH = 128
# Layers that treat each example by itself. BatchNormalization in training mode does not.
EXAMPLE_WISE = (
    *affine.AFFINE_LAYERS,
    layers.Activation,
    layers.Add,
    layers.Average,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.Concatenate,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.Dropout,
    layers.ELU,
    layers.Embedding,
    layers.Flatten,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
    layers.Identity,
    layers.InputLayer,
    layers.LayerNormalization,
    layers.LeakyReLU,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
    layers.Maximum,
    layers.Minimum,
    layers.Multiply,
    layers.Permute,
    layers.ReLU,
    layers.RepeatVector,
    layers.Rescaling,
    layers.Reshape,
    layers.Softmax,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.Subtract,
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.UpSampling3D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.ZeroPadding3D,
)


def by_layer(batch, move):
    """Returns `{layer: (units,)}`, the Taylor loss of every unit.

    Args:
        batch: A `keras_taylor.taylor.batch.Batch`.
        move: `V - W`, tensors like the weights.
    """
    scopes, still = batch.scopes, expand(batch)
    shared = _through_preactivations(batch, move)
    values = [
        shared[layer] if layer in shared else _unit_by_unit(batch, still, move, layer)
        for layer in scopes.layers
    ]
    values = ops.concatenate(values)
    if still.penalty is not None:
        changes = [
            ops.cast(g * m, values.dtype) for g, m in zip(still.penalty_gradient, move, strict=True)
        ]
        changes = scopes.unit_sums(scopes.matrices(changes))
        values = values + ops.cast(still.penalty, values.dtype) + changes
    return scopes.named(values, "units")


def _unit_by_unit(batch, still, move, layer):
    """Returns the output losses `(units,)` of one layer, by a product for each unit."""
    part = batch.scopes.layer_part(move, layer)

    def loss_of(unit):
        direction = batch.scopes.unit_part(part, unit)
        run = functools.partial(stateless_run, batch)
        points, (tangents,), _ = expanded_points(batch, [direction], run)
        return output_loss_at(batch, still, [p + t for p, t in zip(points, tangents, strict=True)])

    is_single = batch.method == "reverse" or still.loss.is_own
    length = 1 if is_single else CHUNK_ELEMENTS // _largest(batch, part)
    # Losses may have another dtype than outputs and weights.
    dtype = output_loss_at(batch, still, still.points).dtype
    return _in_chunks(loss_of, batch.scopes.layer_units(layer), length, dtype)


def _largest(batch, part):
    """Returns how many numbers the largest tangent of one unit has."""
    examples = keras.tree.flatten(batch.x)[0].shape[0] or OPEN_LENGTH
    weights = [math.prod(tensor.shape) for tensor in part if tensor is not None]
    activations = [
        examples * math.prod(length or OPEN_LENGTH for length in tuple(tensor.shape)[1:])
        for layer in leaf_layers(batch.model)
        if layer._inbound_nodes
        for tensor in keras.tree.flatten(layer.output)
    ]
    return max([*weights, *activations])


def _in_chunks(function, units, length, dtype):
    """Returns a function's scalars for a range of units, vectorised over chunks of them."""
    length = max(1, min(length, len(units)))
    if length == 1:
        return tf.map_fn(function, tf.range(units.start, units.stop), fn_output_signature=dtype)
    starts = tf.range(units.start, units.stop, length)

    def chunk(start):
        # The last chunk repeats the last unit, so that all have one length.
        numbers = tf.minimum(tf.range(start, start + length), units.stop - 1)
        return tf.vectorized_map(function, numbers)

    values = tf.map_fn(chunk, starts, fn_output_signature=tf.TensorSpec((length,), dtype))
    return tf.reshape(values, (-1,))[: len(units)]


def _through_preactivations(batch, move):
    """Returns `{layer: (units,)}` of output losses for the affine layers, where that is fast."""
    if not is_example_wise(batch):
        return {}
    records = []
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(batch.weights)
        with hooked(leaf_layers(batch.model), lambda *pair: recorder(*pair, records)):
            still = expand(batch)
        if any(None in tuple(point.shape)[1:] for point in still.points):
            return {}
        flat = ops.concatenate([by_example(point) for point in still.points], axis=1)
    outputs = int(flat.shape[1])
    groups = _by_key(batch, records)
    if outputs > FEW_OUTPUTS or not groups:
        return {}
    moves = _moves(batch, move, groups)

    def tangents_of(output):
        upstream = tf.one_hot(tf.fill(tf.shape(flat)[:1], output), outputs, dtype=flat.dtype)
        befores = [record[2] for group in groups.values() for record in group]
        gradients = iter(tape.gradient(flat, befores, upstream))
        return ops.concatenate(
            [
                sum(_over_places(next(gradients) * change) for change in moves[key])
                for key in groups
            ],
            axis=1,
        )

    signature = tf.TensorSpec((None, None), flat.dtype)
    tangents = tf.map_fn(tangents_of, tf.range(outputs), fn_output_signature=signature)
    unit_counts = {key: len(batch.scopes.layer_units(key)) for key in groups}
    return _losses(batch, still, tangents, unit_counts)


def _losses(batch, still, tangents, unit_counts):
    """Returns output losses by layer, for tangents `(outputs, examples, units of all layers)`."""
    points = still.points
    sizes = [int(by_example(point).shape[1]) for point in points]

    def loss_of(unit):
        parts = tf.split(tf.transpose(tangents[:, :, unit]), sizes, axis=1)
        shaped = [tf.reshape(t, tf.shape(p)) for t, p in zip(parts, points, strict=True)]
        return output_loss_at(batch, still, [p + t for p, t in zip(points, shaped, strict=True)])

    total = sum(unit_counts.values())
    length = CHUNK_ELEMENTS // max(1, sum(sizes) * (points[0].shape[0] or OPEN_LENGTH))
    # What a model's own method does may not be vectorised.
    length = 1 if still.loss.is_own else length
    dtype = output_loss_at(batch, still, points).dtype
    values = _in_chunks(loss_of, range(total), length, dtype)
    return dict(zip(unit_counts, tf.split(values, list(unit_counts.values())), strict=True))


def is_example_wise(batch):
    """Tells whether a model is known to treat each example of a batch by itself."""

    def is_example_wise(layer):
        is_still = type(layer) is layers.BatchNormalization and not batch.training
        is_known = type(layer) in EXAMPLE_WISE and not _is_along_examples(layer)
        return is_still or is_known

    return batch.method == "layerwise" and all(map(is_example_wise, leaf_layers(batch.model)))


def _is_along_examples(layer):
    """Tells whether a layer's axis may be that of the examples, or its activation is unknown."""
    axes = getattr(layer, "axis", -1)
    axes = axes if isinstance(axes, (list, tuple)) else [axes]
    activation = getattr(layer, "activation", None)
    is_known = activation is None or activation in vars(keras.activations).values()
    return not is_known or any(axis == 0 or axis < -1 for axis in axes)


def recorder(layer, call, records):
    """Returns an affine layer's call that notes `(layer, inputs, pre-activation)`, as a hook."""
    if not affine.is_affine(layer):
        return call

    def recorded(inputs, **options):
        output, before = affine.call_capturing(layer, lambda: call(inputs, **options))
        records.append((layer, inputs, before))
        return output

    return recorded


def _by_key(batch, records):
    """Returns the records of each layer's calls by the layer's key; frozen layers are left out."""
    keys = batch.scopes.keys_of(batch.model.trainable_variables)
    groups = {}
    for record in records:
        if id(record[0].kernel) in keys:
            groups.setdefault(keys[id(record[0].kernel)], []).append(record)
    return groups


def _moves(batch, move, groups):
    """Returns how far each pre-activation of each layer moves with the layer's weights."""
    moves = {
        id(variable): tensor
        for variable, tensor in zip(batch.model.trainable_variables, move, strict=True)
    }
    return {
        key: [
            affine.tangent(
                layer,
                inputs,
                kernel_tangent=moves[id(layer.kernel)],
                bias_tangent=moves.get(id(layer.bias)) if layer.use_bias else None,
            )
            for layer, inputs, _ in group
        ]
        for key, group in groups.items()
    }


def by_example(tensor):
    """Returns a tensor as a matrix with a row for each example."""
    return tf.reshape(tensor, (tf.shape(tensor)[0], math.prod(tuple(tensor.shape)[1:])))


def _over_places(tensor):
    """Sums over all axes but the first (examples) and the last (units)."""
    return ops.sum(tensor, axis=tuple(range(1, len(tensor.shape) - 1)))
