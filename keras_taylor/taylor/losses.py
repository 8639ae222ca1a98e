"""Taylor losses: the batch loss with the model's output replaced by its first-order expansion.

For a part s of the weights (the network, a layer, a unit) at round n, with weights W and batch B,

    T_s(V)(x) = f_W(x) + <df_W(x)/dW_s, V_s - W_s>
    L_s(V)    = mean over B of l(y, T_s(V)(x)) + penalty + <d penalty/dW_s, V_s - W_s>

which is convex in V. The mean, sample weights and loss weights are those of the Keras loss.
Penalties (regularisation, activity losses) are expanded like an output, so that `L(W)` is the whole
training loss and its gradient in V at W is that of training.

Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; the formulas
are a reconstruction.
"""

from keras_taylor.taylor import unit_losses
from keras_taylor.taylor.batch import Batch


def taylor_loss(
    model,
    x,
    y,
    comparator,
    scope="network",
    loss=None,
    sample_weight=None,
    training=True,
):
    """Returns the Taylor loss of a batch at a comparator V.

    Runs eagerly and in `tf.function`. The model is not changed: BatchNormalization uses the batch's
    statistics and Dropout one mask, the same for value and derivative.

    Args:
        model: A built Keras model with trainable weights.
        x: Inputs of a batch, as in `fit`.
        y: Targets, as in `fit`.
        comparator: V, arrays shaped like `model.trainable_variables`.
        scope: `"network"`, `"layers"`, `"units"`, or the key of one layer.
        loss: A Keras loss; `None` for the compiled one.
        sample_weight: As in `fit`.
        training: Whether the model runs in training mode.

    Returns:
        A scalar for the network and for one layer, `{layer: scalar}` for `"layers"`,
        `{layer: (units,)}` for `"units"`, in units of the loss.

    Raises:
        ValueError: if the comparator has other shapes than the weights, no floating dtype or a
            value that is not finite; if the model is not built, has no trainable weights, or no
            loss; if the logits of a cross-entropy cannot be reached; if the scope is unknown; if a
            layer is not differentiated right by TensorFlow, which is checked once for each model.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    >>> model.compile(loss="mse")
    >>> model.set_weights([np.array([[1.0], [1.0]])])
    >>> x, y = np.array([[1.0, 2.0]]), np.array([[0.0]])
    >>> float(taylor_loss(model, x, y, [np.array([[0.0], [1.0]])]))  # 2**2, since f is linear
    4.0
    """
    batch = Batch(model, x, y, sample_weight, loss, training)
    displacement = batch.displacement(comparator)
    if scope == "units":
        return unit_losses.by_layer(batch, displacement)
    names = list(batch.scopes.layers) if scope == "layers" else [scope]
    parts = [batch.part(displacement, name) for name in names]
    outputs, points, tangents = batch.expand(parts)
    values = [
        batch.loss_at(outputs, points, tangent, part)
        for tangent, part in zip(tangents, parts, strict=True)
    ]
    return dict(zip(names, values, strict=True)) if scope == "layers" else values[0]


def taylor_loss_and_gradient(
    model,
    x,
    y,
    comparator,
    scope="network",
    loss=None,
    sample_weight=None,
    training=True,
):
    """Returns the Taylor loss of the network or one layer, and its gradient in V.

    The gradient is `J^T dl/df` at `T(V)`, with the Jacobian J of the outputs at the weights.

    Args, raises: as `taylor_loss`, with `scope` `"network"` or the key of a layer.

    Returns:
        A scalar, and a list of tensors like the weights; zero outside of the layer.
    """
    batch = Batch(model, x, y, sample_weight, loss, training)
    value, gradient = batch.value_and_gradient(batch.part(batch.displacement(comparator), scope))
    return value, batch.zero_outside(gradient, scope)


def taylor_curvature_product(
    model,
    x,
    y,
    comparator,
    vector,
    scope="network",
    loss=None,
    sample_weight=None,
    training=True,
):
    """Returns the Hessian of the Taylor loss in V times a vector: `J^T (d^2 l/df^2) J p`.

    Since T is linear in V this is the exact Hessian, and positive semidefinite where the loss is
    convex in the output.

    Args, raises: as `taylor_loss_and_gradient`, with `vector` p shaped like the weights.

    Returns:
        A list of tensors like the weights; zero outside of the layer.
    """
    batch = Batch(model, x, y, sample_weight, loss, training)
    part = batch.part(batch.displacement(comparator), scope)
    direction = batch.part(batch.checked(vector, "vector"), scope)
    return batch.zero_outside(batch.curvature_product(part, direction), scope)
