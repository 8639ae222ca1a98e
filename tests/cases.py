"""Models, losses, batches and recordings that any test takes, and independent references of them.

The references are float64: explicit Jacobians and NumPy.
"""

import copy
import dataclasses
import functools
import traceback

import keras
import numpy as np
import tensorflow as tf
from keras import layers

EXAMPLES = 4


def functional(shape, build, dtype=None):
    """Returns a functional model from an input of that shape through `build`."""
    inputs = keras.Input(shape, dtype=dtype)
    return keras.Model(inputs, build(inputs))


def mlp():
    return functional((5,), lambda x: layers.Dense(3)(layers.Dense(6, "relu")(x)))


def smooth():
    return functional((5,), lambda x: layers.Dense(3)(layers.Dense(6, "gelu")(x)))


def deep_linear():
    return functional(
        (5,), lambda x: layers.Dense(3)(layers.Dense(4, use_bias=False)(layers.Dense(4)(x)))
    )


def convnet():
    def build(x):
        x = layers.Conv2D(4, 3, activation="relu", use_bias=False, padding="same")(x)
        x = layers.MaxPooling2D()(x)
        x = layers.Conv2D(3, 2, activation="relu", use_bias=False)(x)
        return layers.Dense(3, use_bias=False)(layers.Flatten()(x))

    return functional((6, 6, 2), build)


def residual():
    def build(x):
        x = layers.Dense(5, "relu")(x)
        y = layers.BatchNormalization()(layers.Dense(5, "relu")(x))
        return layers.Dense(3)(layers.Add()([x, y]))

    return functional((4,), build)


def residual_by_operators():
    def build(x):
        x = layers.Dense(5, "relu")(x)
        return layers.Dense(3)(x + layers.Dense(5, "relu")(x) * 0.5)

    return functional((4,), build)


def transformer():
    def build(x):
        x = layers.Embedding(7, 6)(x)
        x = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 3)(x, x)]))
        return layers.Dense(3)(layers.GlobalAveragePooling1D()(layers.Dropout(0.3)(x)))

    return functional((5,), build, "int32")


def lstm():
    return functional((4, 3), lambda x: layers.Dense(3)(layers.LSTM(4)(x)))


def softmax():
    return functional((5,), lambda x: layers.Dense(3, "softmax")(layers.Dense(6, "tanh")(x)))


MODELS = {
    function.__name__: function
    for function in (
        mlp,
        smooth,
        deep_linear,
        convnet,
        residual,
        residual_by_operators,
        transformer,
        lstm,
        softmax,
    )
}


def data(model, seed=0):
    """Returns inputs and one-hot targets for a model of the table."""
    generator = np.random.default_rng(seed)
    shape = (EXAMPLES, *model.input_shape[1:])
    is_integer = "int" in model.inputs[0].dtype
    x = generator.integers(0, 7, shape) if is_integer else generator.normal(size=shape)
    return x, np.eye(3)[generator.integers(0, 3, EXAMPLES)]


def comparator(model, seed=1, distance=0.3):
    """Returns arrays near the weights of a model."""
    generator = np.random.default_rng(seed)
    return [
        v.numpy() + distance * generator.normal(size=tuple(v.shape))
        for v in model.trainable_variables
    ]


def activity_divisor(examples):
    """Returns what Keras divides a batch's activity penalty by: examples, or 1 in 3.12."""
    layer = layers.ActivityRegularization(l1=1.0)
    layer(np.ones((examples, 1)))
    return examples / float(layer.losses[0])


def is_converted():
    """Tells whether code that AutoGraph wrote is running."""
    names = (frame.f_code.co_filename for frame, _ in traceback.walk_stack(None))
    return any("__autograph_generated" in name for name in names)


def _log_softmax(f):
    f = f - f.max(axis=-1, keepdims=True)
    return f - np.log(np.exp(f).sum(axis=-1, keepdims=True))


def _huber(y, f):
    error = np.abs(y - f)
    return np.where(error <= 1, error**2 / 2, error - 0.5).mean(-1)


# By name: the Keras loss, and the loss of each example in NumPy.
LOSSES = {
    "squared": (keras.losses.MeanSquaredError, lambda y, f: ((y - f) ** 2).mean(-1)),
    "absolute": (keras.losses.MeanAbsoluteError, lambda y, f: np.abs(y - f).mean(-1)),
    "huber": (keras.losses.Huber, _huber),
    "log_cosh": (keras.losses.LogCosh, lambda y, f: np.log(np.cosh(f - y)).mean(-1)),
    "hinge": (
        keras.losses.Hinge,
        lambda y, f: np.maximum(1 - np.where(y == 0, -1, y) * f, 0).mean(-1),
    ),
    "squared_hinge": (
        keras.losses.SquaredHinge,
        lambda y, f: (np.maximum(1 - np.where(y == 0, -1, y) * f, 0) ** 2).mean(-1),
    ),
    "categorical": (
        lambda **options: keras.losses.CategoricalCrossentropy(from_logits=True, **options),
        lambda y, f: -(y * _log_softmax(f)).sum(-1),
    ),
    "smoothed": (
        lambda **options: keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=0.2, **options
        ),
        lambda y, f: -((0.8 * y + 0.2 / 3) * _log_softmax(f)).sum(-1),
    ),
    "binary": (
        lambda **options: keras.losses.BinaryCrossentropy(from_logits=True, **options),
        lambda y, f: (np.log1p(np.exp(f)) - y * f).mean(-1),
    ),
}
ON_PROBABILITIES = (
    keras.losses.CategoricalCrossentropy,
    lambda y, f: -(y * _log_softmax(f)).sum(-1),
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A compiled model with a batch, a comparator near its weights, and the reference for them."""

    model: keras.Model
    x: np.ndarray
    y: np.ndarray
    comparator: list
    reference: "Reference"

    @property
    def arguments(self):
        """The first arguments of Taylor losses."""
        return self.model, self.x, self.y, self.comparator

    @property
    def weights(self):
        """The present trainable weights, as arrays."""
        return [variable.numpy() for variable in self.model.trainable_variables]

    @property
    def keys(self):
        """The layer's key of each weight."""
        return [v.path.rpartition("/")[0] for v in self.model.trainable_variables]


@functools.cache
def _built(model, dtype):
    """Returns a model, its first weights and its reference, once for each precision of Keras."""
    del dtype
    keras.utils.set_random_seed(0)
    built = MODELS[model]()
    return built, built.get_weights(), Reference(built, data(built)[0], None)


def make(model, loss="squared", **options):
    """Returns the case of a model of `MODELS` and a loss of `LOSSES` (on logits for a softmax).

    Models are built once, since checking how one is differentiated takes longer than most tests;
    their weights are the same each time.
    """
    built, weights, reference = _built(model, keras.config.floatx())
    built.set_weights(weights)
    build, per_example = ON_PROBABILITIES if model == "softmax" else LOSSES[loss]
    built.compile(keras.optimizers.SGD(0.1), loss=build(**options))
    x, y = data(built)
    return Case(built, x, y, comparator(built), reference.with_loss(per_example))


class Reference:
    """Outputs and explicit Jacobians of a model on a batch, by reverse mode; NumPy from there."""

    def __init__(self, model, x, per_example):
        self._per_example = per_example
        self._weights = [v.numpy() for v in model.trainable_variables]
        weights = [tf.constant(v.numpy()) for v in model.trainable_variables]
        state = [v.value for v in model.non_trainable_variables]
        x = tf.constant(x, model.inputs[0].dtype)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(weights)
            outputs, _ = model.stateless_call(weights, state, x, training=True)
            outputs = getattr(outputs, "_keras_logits", outputs)
        self.outputs = outputs.numpy()
        rows = [
            [tf.convert_to_tensor(g) for g in tape.gradient(outputs, weights, upstream)]
            for upstream in np.eye(self.outputs.size, dtype=self.outputs.dtype).reshape(
                -1, *self.outputs.shape
            )
        ]
        jacobians = [
            np.stack(columns).reshape(*self.outputs.shape, *w.shape)
            for columns, w in zip(zip(*rows, strict=True), weights, strict=True)
        ]
        self.jacobians = jacobians

    def with_loss(self, per_example):
        """Returns the reference for another loss of each example."""
        other = copy.copy(self)
        other._per_example = per_example
        return other

    def loss(self, y, comparator, keep=lambda index, move: move, weights=None, reduction="mean"):
        """Returns the Taylor loss with `V - W` cut down to a part by `keep`."""
        moved = self.outputs.copy()
        for index, (jacobian, v, w) in enumerate(
            zip(self.jacobians, comparator, self._weights, strict=True)
        ):
            move = keep(index, v - w)
            moved += np.tensordot(jacobian, move, axes=move.ndim)
        losses = self._per_example(y, moved)
        losses = losses if weights is None else losses * weights
        return losses.sum() if reduction == "sum" else losses.mean()
