"""Outputs as functions of one affine layer, from the layer's inputs and the outputs' derivative.

A layer `z = op(h, K) + b`, dense or a convolution, of a model that treats each example by itself,
has outputs whose Taylor approximation is affine in its weights V:

    T(V) = f + D m,    m = op(h, K_V) + b_V - z,    D = df/dz.

So h, z, D and f of each example are all that is needed of the model. In a first convolution J
takes less memory than h and D, and is kept instead. For squared error with more outputs than units,
or one unit at a time, the loss is a quadratic in m itself, `loss + <linear, m> + <m, C m> / 2` with
`linear = D' dl/df` and the curvature `C = D' H D`: a form with fewer outputs.

Features are computed in float64, since a model in float32 has other rectifiers on wherever two
numbers nearly agree. Small ones are kept so, and bounds are evaluated on them; large ones are
rounded to float32, and only the search uses them.
"""

import functools
import math

import tensorflow as tf

from keras_taylor.derivatives import affine
from keras_taylor.derivatives.expansion import gradients
from keras_taylor.derivatives.forward_mode import hooked, leaf_layers
from keras_taylor.optimum.operators import OutputOperator
from keras_taylor.optimum.passes import CHUNK_BYTES, Chunks, NotKeptError, collected, size
from keras_taylor.taylor.batch import expand, output_loss_at
from keras_taylor.taylor.outputs import OutputLoss
from keras_taylor.taylor.unit_losses import FEW_OUTPUTS, by_example, is_example_wise, recorder

# Features of one layer up to these sizes are kept, in float64 or in float32.
EXACT_BYTES, KEPT_BYTES = 2**30, 4 * 2**30
# The memory of the outputs' derivative of one round.
ROUND_BYTES = 2**29
# The most numbers in the outputs of units that are computed with at once.
BLOCK_NUMBERS = 2**25
# How far a loss may be from a quadratic that is a sum over outputs, relative to its slope.
ROUNDING = 1e-9
# The most outputs for which the derivative of a dense layer is worth its time.
MOST_OUTPUTS = 1024


class Features:
    """The features of one layer over the rounds; made by `features_of`.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        key: The key of the layer.
        by_unit: Whether they are for single units.

    Attributes:
        has_any: Whether the layer has features, kept or not.
        is_kept: Whether they are kept in memory.
        is_exact: Whether they are kept in the precision of bounds.
        passes: The `Passes` over them, of all objectives of the layer.
    """

    def __init__(self, rounds, key, by_unit):
        self._rounds, self._key, self._by_unit = rounds, key, by_unit
        self._kept, self.passes = {}, {}
        weight, tensors = next(iter(rounds.dataset))
        compiled = rounds.replaced_loss(wide=True)
        self._hessian = _hessian_kind(rounds.batch(tensors, compiled, wide=True))
        self.is_exact = False
        self._graph = tf.function(functools.partial(self.of_round, True), autograph=False)
        try:
            self.has_any = bool(self._graph(weight, tensors))
        except (ValueError, tf.errors.InvalidArgumentError):
            # Weights of examples in some rounds alone; a pass would raise other errors, too.
            self.has_any = False
        self.is_kept = self.has_any and self.chunks() is not None
        if self.has_any and not self.is_kept:
            # In a stream, shapes that differ from round to round are open.
            graph = self._graph.get_concrete_function(*rounds.dataset.element_spec)
            self.has_any = bool(graph.structured_outputs)

    @property
    def units_at_once(self):
        """The number of units whose outputs have room together."""
        chunk = next(self.chunks().first(1)) if self.is_exact else None
        if chunk is None or "diagonal" in chunk:
            return 2**20
        outputs = math.prod(chunk["points"].shape[1:])
        examples = max(1, CHUNK_BYTES // size(chunk)) * len(chunk["points"])
        return max(1, BLOCK_NUMBERS // (examples * outputs))

    def chunks(self, check=False):
        """Returns the `Chunks` of the fit or the check sample, or `None` if they are not kept."""
        if check not in self._kept:
            try:
                self._kept[check] = self._collected(check)
            except NotKeptError:
                self._kept[check], self.is_exact = None, False
        return self._kept[check]

    def _collected(self, check):
        rounds = self._rounds
        dataset = rounds.check_dataset if check else rounds.dataset
        count = (rounds.checked if check else rounds.kept)(len(rounds))
        found = collected(dataset, self._graph, count, 2 * KEPT_BYTES)
        first = next(found)
        if not check:
            is_small = size(first) * count <= EXACT_BYTES
            self.is_exact = is_small or rounds.wide_model is rounds.model
        if not self.is_exact and size(first) * count > 2 * KEPT_BYTES:
            raise NotKeptError
        whole = (one for some in ([first], found) for one in some)
        return Chunks(one if self.is_exact else _narrowed(one) for one in whole)

    def of_round(self, wide, weight, tensors):
        """Returns the features of one round; empty if the layer has none."""
        rounds = self._rounds
        layer, compiled = rounds.affine_layer(self._key, wide), rounds.replaced_loss(wide=wide)
        batch = rounds.batch(tensors, compiled, wide)
        found = _of_batch(layer, batch, self._hessian, self._by_unit)
        if found and rounds.is_sampled:
            dtype = found["loss"].dtype
            found["weight"] = tf.fill(tf.shape(found["loss"])[:1], tf.cast(weight, dtype))
        return found

    def operator(self, chunk, loss):
        """Returns the operator of a chunk, of the layer or of its units."""
        dtype = chunk["loss"].dtype
        layer = self._rounds.affine_layer(self._key, wide=dtype == tf.float64)
        batch_size = self._kept[False].batch_size if self._kept.get(False) else None
        kind = UnitsOperator if self._by_unit else LayerOperator
        return kind(layer, chunk, loss, batch_size)


def features_of(rounds, key, by_unit):
    """Returns the `Features` of the layer of a key, or `None` if it has none.

    It has none unless it is dense or convolutional, runs once, all its weights are trained, and the
    model has one output without penalties and treats each example by itself.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        key: The key of the layer.
        by_unit: Whether they are for single units.
    """
    layer = rounds.affine_layer(key, wide=True)
    if layer is None or not _is_separable(rounds, layer):
        return None
    features = Features(rounds, key, by_unit)
    return features if features.has_any else None


def _is_separable(rounds, layer):
    """Whether outputs are a function of each example's own z, and vary with all of the layer."""
    own = [layer.kernel, *([layer.bias] if layer.use_bias else [])]
    is_trained = list(map(id, layer.trainable_variables)) == list(map(id, own))
    models = rounds.model, rounds.wide_model
    order = next(found for found in map(leaf_layers, models) if layer in found)
    behind = order[order.index(layer) + 1 :]
    # TensorFlow does not vectorise gradients of convolutions in groups.
    has_groups = any(getattr(other, "groups", 1) != 1 for other in (layer, *behind))
    # Only then do weights of examples, times a number, make the loss that number of times it.
    reductions = [loss.reduction for loss in rounds.loss.losses]
    is_weighable = not rounds.is_sampled or "mean_with_sample_weight" not in reductions
    is_known = is_trained and is_weighable and not has_groups and not rounds.loss.is_own
    return is_known and is_example_wise(rounds.first_batch)


def _of_batch(layer, batch, hessian, by_unit):
    """Returns the features of one batch, a dictionary of tensors; empty if there are none.

    `hessian` is that of `_hessian_kind`, found on the first round.
    """
    last = leaf_layers(batch.model)[-1]
    hooks = [layer, last] if affine.is_affine(last) and last is not layer else [layer]
    records = []
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(batch.weights)
        with hooked(hooks, lambda *pair: recorder(*pair, records)):
            still = expand(batch)
        points = by_example(still.points[0])
    own = [record for record in records if record[0] is layer]
    if len(own) != 1 or not _is_simple(batch, still, own[0]):
        return {}
    _, inputs, before = own[0]
    is_last = before is still.points[0]
    place_count, units = math.prod(before.shape[1:-1]), before.shape[-1]
    outputs, numbers = points.shape[1], place_count * units
    if not is_last and not _fits(layer, points, numbers, place_count):
        return {}
    examples = tf.cast(tf.shape(points)[0], points.dtype)
    value = output_loss_at(batch, still, still.points)
    found = {
        "inputs": inputs,
        "before": tf.reshape(before, (-1, place_count, units)),
        "loss": tf.fill(tf.shape(points)[:1], value / examples),
    }
    targets = {"points": still.points[0], "y": batch.y}
    if batch.sample_weight is not None:
        targets["sample_weight"] = batch.sample_weight
    if hessian is not None and place_count == 1 and len(still.points[0].shape) == 2:
        more = _quadratic(tape, batch, still, before, is_last, records[-1], hessian)
        if "jacobian" in more:
            more |= targets
        return found | more
    found |= targets
    if is_last:
        return found
    if not by_unit and _has_rows(layer, inputs, numbers, outputs):
        return found | _rows(layer, batch, inputs, _jacobian(tape, points, before))
    jacobian = _jacobian(tape, points, before)
    return found | {"jacobian": tf.reshape(jacobian, (-1, outputs, place_count, units))}


def _is_simple(batch, still, record):
    points = still.points
    shapes = (*record[1].shape[1:], *points[0].shape[1:])
    return (
        len(points) == 1 and None not in shapes and tf.is_tensor(batch.y) and still.penalty is None
    )


def _fits(layer, points, numbers, place_count):
    """Whether the derivative of a round has room, and is worth its time."""
    outputs = points.shape[1]
    most = MOST_OUTPUTS if place_count == 1 else FEW_OUTPUTS
    made = (points.shape[0] or 1) * outputs * numbers * points.dtype.size
    return outputs <= most and made <= ROUND_BYTES


# The Hessian of a quadratic loss in the outputs of an example.
DIAGONAL, SCALAR = "diagonal", "scalar"


def _hessian_kind(batch):
    """Returns whether a quadratic loss has a diagonal or scalar Hessian in each example, or `None`.

    It is diagonal if the loss is a sum over outputs: then its change of slope along a random move
    is the second derivative in each output times the move.
    """
    still = expand(batch)
    if not still.loss.is_quadratic or len(still.points) != 1:
        return None
    (points,) = still.points
    move = tf.random.stateless_normal(tf.shape(points), (0, 1), dtype=points.dtype)
    slope, hessian = _slope_and_hessian(batch, still)
    change = _slope(batch, still, points + move) - slope
    if not tf.norm(change - hessian * move) <= ROUNDING * tf.norm(change):
        return None
    spread = by_example(hessian) - by_example(hessian)[:, :1]
    return SCALAR if tf.norm(spread) <= ROUNDING * tf.norm(hessian) else DIAGONAL


def _slope_and_hessian(batch, still):
    """Returns the slope of a quadratic loss in the outputs, and the diagonal of its Hessian."""
    (points,) = still.points
    slope = _slope(batch, still, points)
    return slope, _slope(batch, still, points + 1) - slope


def _slope(batch, still, points):
    with tf.GradientTape() as tape:
        tape.watch(points)
        value = output_loss_at(batch, still, [points])
    return gradients(tape, value, [points])[0]


def _quadratic(tape, batch, still, before, is_last, last, kind):
    """Returns the loss as a quadratic in m: `linear`, and `curvature` or its `diagonal`."""
    (points,) = still.points
    slope, hessian = _slope_and_hessian(batch, still)
    if is_last:
        return {"linear": slope, "diagonal": hessian}
    found = {"linear": tape.gradient(points, before, slope)}
    if before.shape[1] >= points.shape[1]:
        jacobian = _jacobian(tape, points, before)
        found["diagonal"] = tf.einsum("epu,epu,ep->eu", jacobian, jacobian, hessian)
        return found | {"jacobian": jacobian[:, :, None]}
    _, hidden, last_before = last
    if kind == SCALAR and last_before is points and len(hidden.shape) == 2:
        # The outputs are `h W + b` of the last hidden layer h: D' D is `dh' W W' dh`.
        jacobian, kernel = _jacobian(tape, hidden, before), _value(batch, last[0].kernel)
        product = tf.einsum("pq,equ->epu", tf.matmul(kernel, kernel, transpose_b=True), jacobian)
        product *= hessian[:, :1, None]
    else:
        jacobian = _jacobian(tape, points, before)
        product = hessian[:, :, None] * jacobian
    found["curvature"] = tf.matmul(jacobian, product, transpose_a=True)
    return found | {"diagonal": tf.linalg.diag_part(found["curvature"])}


def _value(batch, variable):
    """Returns the value of a model's variable in a batch."""
    model = batch.model
    pairs = (model.trainable_variables, batch.weights), (model.non_trainable_variables, batch.state)
    values = {id(v): t for variables, some in pairs for v, t in zip(variables, some, strict=True)}
    return values[id(variable)]


def _jacobian(tape, targets, before):
    """Returns the derivative of the targets in the pre-activation, `(examples, targets, ...)`."""
    if math.prod(before.shape[1:]) >= targets.shape[1]:
        return tape.batch_jacobian(targets, before)
    # The pullback is linear in its argument, and its Jacobian takes one product for each unit.
    upstream = tf.zeros_like(targets)
    with tf.GradientTape() as outer:
        outer.watch(upstream)
        pulled = tape.gradient(targets, before, upstream)
    jacobian = outer.batch_jacobian(pulled, upstream)
    axes = list(range(len(jacobian.shape)))
    return tf.transpose(jacobian, [0, axes[-1], *axes[1:-1]])


def _has_rows(layer, inputs, numbers, outputs):
    """Whether J takes less memory than inputs and the derivative."""
    rows = outputs * (math.prod(layer.kernel.shape) + layer.use_bias * layer.kernel.shape[-1])
    return rows < math.prod(inputs.shape[1:]) + outputs * numbers


def _rows(layer, batch, inputs, jacobian):
    """Returns J as `rows`, `(examples, outputs, weights)`, and J W as `offset`."""
    units = layer.kernel.shape[-1]
    outputs, patches = jacobian.shape[1], _patches(layer, inputs)
    jacobian = tf.reshape(jacobian, (-1, outputs, math.prod(patches.shape[1:-1]), units))
    patches = tf.reshape(patches, (-1, jacobian.shape[2], patches.shape[-1]))
    rows = tf.einsum("epi,ekpu->ekiu", patches, jacobian)
    rows = tf.reshape(rows, (-1, outputs, math.prod(layer.kernel.shape)))
    weights = tf.reshape(_value(batch, layer.kernel), (-1,))
    if layer.use_bias:
        rows = tf.concat([rows, tf.reduce_sum(jacobian, 2)], 2)
        weights = tf.concat([weights, _value(batch, layer.bias)], 0)
    return {"rows": rows, "offset": tf.linalg.matvec(rows, weights)}


def _patches(layer, inputs):
    """Returns the inputs of each place, `(examples, ..., entries of a unit's kernel)`."""
    length = math.prod(layer.kernel.shape[:-1])
    # What a kernel with one entry for each unit finds there.
    identity = tf.reshape(tf.eye(length, dtype=inputs.dtype), (*layer.kernel.shape[:-1], length))
    return affine.apply(layer, inputs, identity)


def _narrowed(tensors):
    return {
        name: tf.cast(tensor, "float32") if tensor.dtype == tf.float64 else tensor
        for name, tensor in tensors.items()
    }


class ChunkLoss:
    """The losses of a chunk's examples at given points.

    Args:
        rounds: The `keras_taylor.optimum.rounds.Rounds`.
        function: Function from a Keras loss to the one in its place.
    """

    def __init__(self, rounds, function=lambda loss: loss):
        self._losses = {w: OutputLoss(rounds.replaced_loss(function, w)) for w in (False, True)}
        self._from_logits = rounds.from_logits
        # A sum of losses is one over all rounds; a mean has to be undone.
        self._is_sum = rounds.loss.losses[0].reduction == "sum"

    def __call__(self, points, chunk, rounds):
        """Returns the sum of the losses of the rounds of a chunk, times the rounds' weights.

        Args:
            points: The points of the examples, shaped as the model's are.
            chunk: A dictionary with `y`, perhaps `sample_weight`, and `weight` if rounds are a
                sample: the number of rounds that an example's round stands for.
            rounds: The number of rounds in the chunk.
        """
        loss = self._losses[points.dtype == tf.float64]
        output = loss.output_at(points, self._from_logits)
        value = loss(chunk["y"], output, [points], _weights(chunk))
        return value if self._is_sum else value * tf.cast(rounds, value.dtype)


def _weights(chunk):
    """Returns the weights of examples times those of their rounds, `None` without either."""
    weight, of_round = chunk.get("sample_weight"), chunk.get("weight")
    if weight is None or of_round is None:
        return of_round if weight is None else weight
    more_axes = [1] * (len(weight.shape) - 1)
    # The rounds' weights are as precise as all else here.
    return tf.cast(weight, of_round.dtype) * tf.reshape(of_round, [-1, *more_axes])


class LayerOperator(OutputOperator):
    """The outputs as functions of a layer's weights, on its features.

    Args:
        layer: The layer, of the precision of the features.
        chunk: The features of one or several rounds.
        loss: The `ChunkLoss`.
        batch_size: The examples of a round; `None` if the chunk is one round.
    """

    def __init__(self, layer, chunk, loss, batch_size):
        self._layer, self._chunk, self._chunk_loss = layer, chunk, loss
        self._batch_size = batch_size or tf.shape(chunk["loss"])[0]
        self._dtype = chunk["loss"].dtype

    @property
    def _is_quadratic(self):
        return "points" not in self._chunk

    def outputs(self, point, vector=None):
        chunk = self._chunk
        own = tf.zeros_like(chunk["before"] if self._is_quadratic else chunk["points"])
        moved = own if point is None else self._jvp(point, is_point=True)
        points = moved if self._is_quadratic else chunk["points"] + moved
        return [points], None if vector is None else [self._jvp(vector)]

    def vjp(self, slopes):
        (slopes,), chunk = slopes, self._chunk
        if "rows" in chunk:
            return tf.einsum("eki,ek->i", chunk["rows"], by_example(slopes))
        if "jacobian" in chunk and not self._is_quadratic:
            slopes = tf.einsum("ekpu,ek->epu", chunk["jacobian"], by_example(slopes))
        return self._pulled(slopes, self._layer.kernel.shape[-1])

    def loss(self, outputs):
        if self._is_quadratic:
            return tf.reduce_sum(self._chunk.get("weight", 1.0) * self._example_losses(outputs[0]))
        return self._loss_at(outputs[0], self._chunk, self._round_count)

    def hessian_product(self, outputs, vectors):
        if not self._is_quadratic:
            return super().hessian_product(outputs, vectors)
        product = self._curved(vectors[0])
        weight = self._chunk.get("weight")
        return [product if weight is None else product * weight[:, None, None]]

    def losses(self, outputs):
        if self._is_quadratic:
            return tf.reduce_sum(self._by_round(self._example_losses(outputs[0])), 1)
        names = {"y", "sample_weight"} & set(self._chunk)
        pieces = {name: self._by_round(self._chunk[name]) for name in names}
        return tf.map_fn(
            lambda pair: self._loss_at(pair[0], pair[1], 1),
            (self._by_round(outputs[0]), pieces),
            fn_output_signature=self._dtype,
        )

    def _example_losses(self, m):
        change = (self._chunk["linear"][:, None] + self._curved(m) / 2) * m
        return self._chunk["loss"] + tf.reduce_sum(change, [1, 2])

    def _curved(self, m):
        """Returns the Hessian of a quadratic loss times m, `(examples, 1, units)`."""
        if "curvature" in self._chunk:
            return tf.matmul(m, self._chunk["curvature"])
        return self._chunk["diagonal"][:, None] * m

    def _loss_at(self, points, chunk, rounds):
        return self._chunk_loss(points, chunk, rounds)

    def _jvp(self, vector, is_point=False):
        """Returns `J v`, or `J (V - W)` for a point V."""
        chunk, vector = self._chunk, tf.cast(vector, self._dtype)
        if "rows" in chunk:
            moved = tf.linalg.matvec(chunk["rows"], vector)
            return self._like_points(moved - chunk["offset"] if is_point else moved)
        m = self._before(*self._kernel_and_bias(vector))
        m = m - chunk["before"] if is_point else m
        if self._is_quadratic:
            return m
        if "jacobian" in chunk:
            m = tf.einsum("ekpu,epu->ek", chunk["jacobian"], m)
        return self._like_points(m)

    def _kernel_and_bias(self, vector):
        shape = self._layer.kernel.shape
        size = math.prod(shape)
        return tf.reshape(vector[:size], shape), vector[size:] if self._layer.use_bias else None

    def _before(self, kernel, bias):
        """Returns `op(h, K) + b`, `(examples, places, units)`."""
        z = affine.apply(self._layer, self._chunk["inputs"], kernel)
        z = z if bias is None else z + bias
        return tf.reshape(z, (tf.shape(z)[0], -1, z.shape[-1] or tf.shape(z)[-1]))

    def _pulled(self, slopes, units):
        """Returns the gradient of `<slopes, op(h, K) + b>` in kernel and bias, a vector."""
        shape = (*self._layer.kernel.shape[:-1], units)
        kernel, bias = tf.zeros(shape, self._dtype), None
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            z = self._before(kernel, bias)
        slopes = tf.reshape(slopes, tf.shape(z))
        kernel = tape.gradient(z, kernel, slopes)
        flat = tf.reshape(kernel, (-1, units))
        if self._layer.use_bias:
            flat = tf.concat([flat, tf.reduce_sum(slopes, [0, 1])[None]], 0)
        return self._vector(flat)

    def _vector(self, matrix):
        return tf.reshape(matrix, (-1,))

    def _like_points(self, flat):
        return tf.reshape(flat, tf.shape(self._chunk["points"]))

    @property
    def _round_count(self):
        return tf.shape(self._chunk["loss"])[0] // self._batch_size

    def _by_round(self, tensor):
        shape = tf.concat([[-1, self._batch_size], tf.shape(tensor)[1:]], 0)
        return tf.reshape(tensor, shape)


class UnitsOperator(LayerOperator):
    """The outputs as functions of the weights of single units of a layer, each by itself.

    `of` takes the units, before anything else.
    """

    def of(self, units):
        """Returns the operator of some units, given by their numbers in the layer."""
        self._units, self._count = units, tf.shape(units)[0]
        return self

    @property
    def _is_quadratic(self):
        return "diagonal" in self._chunk

    def outputs(self, point, vector=None):
        moved = self._jvp(point, is_point=True)
        points = moved if self._is_quadratic else self._chunk["points"][None] + moved
        return [points], None if vector is None else [self._jvp(vector)]

    def vjp(self, slopes):
        (slopes,), chunk = slopes, self._chunk
        if self._is_quadratic:
            return self._pulled(slopes, self._count)
        slopes = self._flat(slopes)
        if "jacobian" in chunk:
            slopes = tf.einsum("ekpu,uek->epu", self._of_units(chunk["jacobian"]), slopes)
        else:
            slopes = tf.reshape(slopes, (self._count, *self._place_shape))
            slopes = tf.einsum("uepo,uo->epu", slopes, self._one_hot)
        return self._pulled(slopes, self._count)

    def loss(self, outputs):
        if self._is_quadratic:
            weight = self._chunk.get("weight")
            losses = self._example_losses(outputs[0])
            return tf.reduce_sum(losses if weight is None else weight[:, None] * losses, 0)
        one = lambda points: self._loss_at(points, self._chunk, self._round_count)  # noqa: E731
        return tf.vectorized_map(one, outputs[0])

    def losses(self, outputs):
        if self._is_quadratic:
            return tf.reduce_sum(self._by_round(self._example_losses(outputs[0])), 1)
        one = super().losses
        found = tf.map_fn(lambda p: one([p]), outputs[0], fn_output_signature=self._dtype)
        return tf.transpose(found)

    def _example_losses(self, m):
        linear = self._of_units(self._chunk["linear"])
        change = (linear + self._curved(m)[:, 0] / 2) * m[:, 0]
        return self._chunk["loss"][:, None] + change

    def _curved(self, m):
        return self._of_units(self._chunk["diagonal"])[:, None] * m

    def _jvp(self, vector, is_point=False):
        chunk, vector = self._chunk, tf.cast(vector, self._dtype)
        m = self._before(*self._kernel_and_bias(vector))
        m = m - self._of_units(chunk["before"]) if is_point else m
        if self._is_quadratic:
            return m
        if "jacobian" in chunk:
            return self._like_points(
                tf.einsum("ekpu,epu->uek", self._of_units(chunk["jacobian"]), m)
            )
        return self._like_points(tf.einsum("epu,uo->uepo", m, self._one_hot))

    def _kernel_and_bias(self, vector):
        *shape, _ = self._layer.kernel.shape
        rows = tf.transpose(vector)
        kernel = tf.reshape(rows[: math.prod(shape)], (*shape, self._count))
        return kernel, rows[-1] if self._layer.use_bias else None

    def _vector(self, matrix):
        return tf.transpose(matrix)

    def _like_points(self, flat):
        shape = tf.concat([[self._count], tf.shape(self._chunk["points"])], 0)
        return tf.reshape(flat, shape)

    def _flat(self, slopes):
        shape = tf.shape(by_example(self._chunk["points"]))
        return tf.reshape(slopes, tf.concat([[self._count], shape], 0))

    def _of_units(self, tensor):
        return tf.gather(tensor, self._units, axis=-1)

    @property
    def _one_hot(self):
        return tf.one_hot(self._units, self._layer.kernel.shape[-1], dtype=self._dtype)

    @property
    def _place_shape(self):
        before = self._chunk["before"]
        return tf.shape(before)[0], before.shape[1], before.shape[2]
