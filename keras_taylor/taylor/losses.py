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

from keras import ops

from keras_taylor.backend import unconverted
from keras_taylor.taylor import batch as batches
from keras_taylor.taylor import curvature, unit_losses
from keras_taylor.taylor.batch import batch_of
from keras_taylor.weights.arguments import checked_arrays
from keras_taylor.weights.parts import Part, by_scope, part_names


@unconverted
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

    `L_s(V) = mean over the batch of l(y, f(x) + <df(x)/dW_s, V_s - W_s>)`, plus the model's
    penalties to first order, with the mean, sample weights and loss weights of the Keras loss.

    Runs eagerly and in `tf.function`. The model is not changed: BatchNormalization uses the batch's
    statistics, and Dropout one mask for value and derivative.

    Args:
        model: A built Keras model with trainable weights.
        x: Inputs of a batch, as in `fit`.
        y: Targets, as in `fit`.
        comparator: V, arrays shaped like `model.trainable_variables`.
        scope: `"network"`, `"layers"`, `"units"`, or one part: `"layer:<key>"`,
            `"unit:<key>/<number>"`. A layer's key is its variables' path without the last part.
        loss: A Keras loss; `None` for the compiled one, or the model's own `compute_loss`.
        sample_weight: As in `fit`.
        training: Whether the model runs in training mode.

    Returns:
        In units of the loss: a scalar for the network and for one part, `{layer: scalar}` for
        `"layers"`, `{layer: (units,)}` for `"units"`.

    Raises:
        ValueError: if the comparator has other shapes than the weights, a dtype that is not
            floating-point or a value that is not finite; if the model is not built, has no
            trainable weights, or no loss, or has a `train_step` of its own and no loss is given; if
            the scope is unknown; if a layer writes trainable weights when it is called or is not
            differentiated right, which is checked once for each architecture, on the batch.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    >>> model.compile(loss="mse")
    >>> model.set_weights([np.array([[1.0], [1.0]])])
    >>> x, y = np.array([[1.0, 2.0]]), np.array([[0.0]])
    >>> float(taylor_loss(model, x, y, [np.array([[0.0], [1.0]])]))  # 2**2, since f is linear
    4.0

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; the
    formulas are a reconstruction.
    """
    batch = batch_of(model, x, y, sample_weight, loss, training)
    move = _move(batch, comparator)
    names = part_names(batch.scopes, scope)
    if scope == "units":
        return unit_losses.by_layer(batch, move)
    expanded = batches.expand(batch, [Part(batch.scopes, name).cut(move) for name in names])
    values = [batches.loss_at(batch, expanded, number) for number in range(len(names))]
    return by_scope(batch.scopes, scope, values)


@unconverted
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
    """Returns the Taylor loss of one part of the weights at a comparator V, and its gradient in V.

    The gradient is `J^T dl/df` at `T(V)`, with the Jacobian J of the outputs at the weights W,
    plus the gradient of the model's penalties at W. At `V = W` it is the gradient of training.

    Args:
        model: A built Keras model with trainable weights.
        x: Inputs of a batch, as in `fit`.
        y: Targets, as in `fit`.
        comparator: V, arrays shaped like `model.trainable_variables`.
        scope: `"network"` or one part: `"layer:<key>"`, `"unit:<key>/<number>"`.
        loss: A Keras loss; `None` for the compiled one, or the model's own `compute_loss`.
        sample_weight: As in `fit`.
        training: Whether the model runs in training mode.

    Returns:
        The Taylor loss, a scalar in units of the loss (the batch's mean, as Keras computes it); and
        a list of tensors like the weights, zero outside of the part.

    Raises:
        ValueError: if the scope has several parts or is unknown; if the comparator has other shapes
            than the weights, a dtype that is not floating-point or a value that is not finite; if
            the model is not built, has no trainable weights or no loss; or a layer is not
            differentiated right.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    >>> model.compile(loss="mse")
    >>> model.set_weights([np.array([[1.0], [1.0]])])
    >>> x, y = np.array([[1.0, 2.0]]), np.array([[0.0]])
    >>> value, gradient = taylor_loss_and_gradient(model, x, y, [np.array([[0.0], [1.0]])])
    >>> gradient[0].numpy().ravel()  # 2 * f(V) * x
    array([4., 8.], dtype=float32)

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; the
    formulas are a reconstruction.
    """
    batch = batch_of(model, x, y, sample_weight, loss, training)
    part = Part(batch.scopes, scope)
    value, gradient = batches.value_and_gradient(batch, part.cut(_move(batch, comparator)))
    return value, _zero_outside(part, gradient)


@unconverted
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
    """Returns the Hessian of one part's Taylor loss in V times a vector p: `J^T (d^2 l/df^2) J p`.

    T is linear in V, so this is the exact Hessian, and it is positive semidefinite where the loss
    is convex in the output. Penalties are expanded to first order and add nothing.

    Args:
        model: A built Keras model with trainable weights.
        x: Inputs of a batch, as in `fit`.
        y: Targets, as in `fit`.
        comparator: V, at which `d^2 l/df^2` is taken; arrays shaped like
            `model.trainable_variables`.
        vector: p, arrays like the comparator; entries outside of the part are not used.
        scope: `"network"` or one part: `"layer:<key>"`, `"unit:<key>/<number>"`.
        loss: A Keras loss; `None` for the compiled one, or the model's own `compute_loss`.
        sample_weight: As in `fit`.
        training: Whether the model runs in training mode.

    Returns:
        A list of tensors like the weights, zero outside of the part; in units of the loss (the
        batch's mean, as Keras computes it).

    Raises:
        ValueError: if the scope has several parts or is unknown; if comparator or vector have other
            shapes than the weights, a dtype that is not floating-point or a value that is not
            finite; if the model is not built, has no trainable weights or no loss; or a layer is
            not differentiated right.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    >>> model.compile(loss="mse")
    >>> x, y, v = np.array([[1.0, 2.0]]), np.array([[0.0]]), [np.zeros((2, 1))]
    >>> product = taylor_curvature_product(model, x, y, v, [np.array([[1.0], [0.0]])])
    >>> product[0].numpy().ravel()  # 2 * x * <x, p>
    array([2., 4.], dtype=float32)

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; the
    formulas are a reconstruction.
    """
    batch = batch_of(model, x, y, sample_weight, loss, training)
    part = Part(batch.scopes, scope)
    vector = part.cut(checked_arrays("vector", vector, batch.weights))
    product = curvature.curvature_product(batch, part.cut(_move(batch, comparator)), vector)
    return _zero_outside(part, product)


def _move(batch, comparator):
    """Returns V - W for a comparator V, checked."""
    comparator = checked_arrays("comparator", comparator, batch.weights)
    return [v - w for v, w in zip(comparator, batch.weights, strict=True)]


def _zero_outside(part, tensors):
    kept = part.cut(tensors)
    return [
        ops.zeros_like(tensor) if inside is None else inside
        for tensor, inside in zip(tensors, kept, strict=True)
    ]
