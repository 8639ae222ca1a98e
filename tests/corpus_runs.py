"""Recorded runs that the solver's answers are compared on: models, losses, data and requests."""

import contextlib
import dataclasses
import functools
import inspect
import itertools

import cases
import keras
import numpy as np
from keras import layers

import keras_taylor as kt

POOL = 96
# Targets of classes; the other losses get real ones.
OF_CLASSES = {"hinge", "squared_hinge", "categorical", "smoothed", "binary"}


def autoencoder():
    return cases.functional((40,), lambda x: layers.Dense(40)(layers.Dense(8, "tanh")(x)))


def sequences():
    """The same Dense layers at several places of each example."""
    return cases.functional((6, 4), lambda x: layers.Dense(3)(layers.Dense(5, "relu")(x)))


def conv_classifier():
    def build(x):
        x = layers.Conv2D(5, 3, activation="relu")(x)
        x = layers.Conv2D(4, 2, strides=2, activation="relu")(x)
        return layers.Dense(3)(layers.GlobalAveragePooling2D()(x))

    return cases.functional((8, 8, 2), build)


def depthwise():
    def build(x):
        x = layers.SeparableConv2D(4, 3, activation="relu")(x)
        return layers.Dense(3)(layers.Flatten()(layers.AveragePooling2D()(x)))

    return cases.functional((6, 6, 2), build)


def regularised():
    l2 = keras.regularizers.L2(1e-2)

    def build(x):
        x = layers.Dense(6, "relu", kernel_regularizer=l2)(x)
        return layers.Dense(3, kernel_regularizer=l2, bias_regularizer=l2)(x)

    return cases.functional((5,), build)


def shared():
    """A layer that is called twice."""
    dense = layers.Dense(5, "tanh")
    return cases.functional((5,), lambda x: layers.Dense(3)(dense(dense(x))))


def two_outputs():
    inputs = keras.Input((5,))
    x = layers.Dense(6, "relu")(inputs)
    outputs = {"a": layers.Dense(3, name="a")(x), "b": layers.Dense(2, name="b")(x)}
    return keras.Model(inputs, outputs)


MODELS = cases.MODELS | {
    function.__name__: function
    for function in (
        autoencoder,
        sequences,
        conv_classifier,
        depthwise,
        regularised,
        shared,
        two_outputs,
    )
}

# Which parts of a run are solved for: (scope, radius, tolerance). "first" and "last" stand for
# layers, a radius is a multiple of the distance that the part travelled (the network, if there are
# several parts), `None` for the package's own distance, or a list of these.
PLANS = (
    (
        ("network", None, 1e-2),
        ("layers", None, 1e-2),
        ("units", None, 1e-2),
        ("layer:last", 0.1, 1e-2),
        ("unit:first/0", 10, 1e-2),
    ),
    (
        ("network", 10, 1e-2),
        ("layers", 0.1, 1e-2),
        ("layer:first", (0.1, None, 10), 1e-2),
        ("unit:last/1", None, 1e-4),
    ),
    (
        ("network", 0.1, 1e-2),
        ("layers", 10, 1e-2),
        ("units", 10, 1e-2),
        ("layer:first", None, 1e-4),
    ),
    (
        ("network", (0.1, None, 10), 1e-2),
        ("network", None, 1e-4),
        ("layer:last", 10, 1e-2),
        ("units", 0.1, 1e-2),
    ),
)
# Losses with kinks take many passes.
OF_KINKS = (
    ("network", 0.1, 1e-2),
    ("layer:last", (0.1, None, 10), 1e-2),
    ("unit:last/1", 10, 1e-2),
)
OF_SAMPLES = (
    (("network", None, 1e-2), ("layers", 10, 1e-2), ("unit:last/1", None, 1e-2)),
    (("network", 10, 1e-2), ("layers", None, 1e-2), ("units", None, 1e-2)),
)


@dataclasses.dataclass(frozen=True)
class Run:
    """A model that is trained with a loss, and what is solved for in its recording.

    `model` and `loss` are names; `kept` is "all", "sample" or "examples" (a sample of rounds and
    of the examples of each); `horizons` are those of a decomposition, if there is one.
    """

    model: str
    loss: str
    plan: tuple  # Of (scope, radius, tolerance), see `PLANS`.
    kept: str = "all"
    optimizer: str = "adam"
    steps: int = 40
    batch: int = 12
    burn_in: int = 0
    dtype: str = "float32"
    reduction: str = "sum_over_batch_size"
    is_weighted: bool = False
    horizons: tuple = ()

    @property
    def name(self):
        """The run's name, unique in the corpus."""
        rare = [self.dtype] * (self.dtype != "float32") + ["weighted"] * self.is_weighted
        rare += ["sum"] * (self.reduction == "sum")
        return "/".join([self.model, self.loss, *rare, self.kept])

    @contextlib.contextmanager
    def precision(self):
        """Lets Keras compute in the run's dtype."""
        before = keras.config.floatx(), keras.config.dtype_policy().name
        keras.config.set_floatx(self.dtype)
        keras.config.set_dtype_policy(self.dtype)
        try:
            yield
        finally:
            keras.config.set_floatx(before[0])
            keras.config.set_dtype_policy(before[1])

    def recorded(self, path):
        """Trains the model; returns it and its trajectory."""
        # Layers are named as in a new process.
        keras.utils.clear_session()
        keras.utils.set_random_seed(0)
        model = MODELS[self.model]()
        model.compile(self._optimizer(), loss=self._loss())
        options = {"start": self.burn_in} | {
            "all": {},
            "sample": {"sample": self.steps // 2},
            "examples": {"sample": self.steps // 2, "examples": self.batch // 2},
        }[self.kept]
        batches = list(self._batches(model))
        return model, named(kt.record)(
            model, batches, path, steps=self.steps + self.burn_in, verbose=0, **options
        )

    def _optimizer(self):
        kinds = {"adam": (keras.optimizers.Adam, 0.01), "sgd": (keras.optimizers.SGD, 0.05)}
        kind, rate = kinds[self.optimizer]
        return kind(rate / (self.batch if self.reduction == "sum" else 1))

    def _loss(self):
        if self.model == "two_outputs":
            first, second = self.loss.split("+")
            return {"a": cases.LOSSES[first][0](), "b": cases.LOSSES[second][0]()}
        of_probabilities = self.model == "softmax" and self.loss == "categorical"
        build = cases.ON_PROBABILITIES[0] if of_probabilities else cases.LOSSES[self.loss][0]
        return build(reduction=self.reduction)

    def _batches(self, model):
        generator = np.random.default_rng(1)
        shape = (POOL, *model.input_shape[1:])
        is_integer = "int" in model.inputs[0].dtype
        x = generator.integers(0, 7, shape) if is_integer else generator.normal(size=shape)
        y = self._targets(model, x, generator)
        weights = generator.uniform(0.1, 2.0, POOL)
        for _ in range(self.steps + self.burn_in):
            of = generator.choice(POOL, self.batch, replace=False)
            batch = x[of], {k: v[of] for k, v in y.items()} if isinstance(y, dict) else y[of]
            yield (*batch, weights[of]) if self.is_weighted else batch

    def _targets(self, model, x, generator):
        if self.model == "two_outputs":
            losses = dict(zip(("a", "b"), self.loss.split("+"), strict=True))
            return {k: _taught(x, model.output[k].shape, losses[k], generator) for k in losses}
        if self.model == "autoencoder":
            return 1.0 * (x > 0) if self.loss == "binary" else x
        return _taught(x, model.output_shape, self.loss, generator)


def _taught(x, shape, loss, generator):
    """Returns targets that a noisy linear map of the inputs gives."""
    x = x.reshape(POOL, -1)
    teacher = generator.normal(size=(x.shape[1], *shape[1:])) / np.sqrt(x.shape[1])
    y = np.tensordot(x - x.mean(), teacher, 1) + 0.3 * generator.normal(size=(POOL, *shape[1:]))
    return np.eye(shape[-1])[y.argmax(-1)] if loss in OF_CLASSES else np.tanh(y)


# Names of arguments that a later version of the package may have changed.
RENAMED = {"start": "burn_in", "tolerance": "rtol", "absolute_tolerance": "atol"}


def named(function):
    """Returns a public function of the package under the names that its arguments have here."""
    names = inspect.signature(function).parameters

    @functools.wraps(function)
    def call(*arguments, **options):
        new = {key if key in names else RENAMED.get(key, key): v for key, v in options.items()}
        return function(*arguments, **new)

    return call


_FULL = (
    ("mlp", "squared", {"horizons": (10, 20, 40)}),
    ("mlp", "absolute", {"steps": 24}),
    ("mlp", "squared_hinge", {}),
    ("mlp", "hinge", {"optimizer": "sgd", "steps": 24}),
    ("mlp", "categorical", {"horizons": (12, 60), "steps": 60}),
    ("mlp", "squared", {"reduction": "sum", "optimizer": "sgd", "burn_in": 5}),
    ("smooth", "huber", {}),
    ("smooth", "log_cosh", {"optimizer": "sgd"}),
    ("smooth", "smoothed", {}),
    ("deep_linear", "squared", {"steps": 60}),
    ("deep_linear", "binary", {"optimizer": "sgd", "steps": 20}),
    ("convnet", "squared", {"steps": 24}),
    ("convnet", "categorical", {"steps": 24, "burn_in": 4}),
    ("residual", "squared", {"horizons": (10, 20), "steps": 20}),
    ("residual", "absolute", {"steps": 20, "batch": 8, "plan": OF_KINKS}),
    ("residual_by_operators", "huber", {"steps": 20}),
    ("residual_by_operators", "smoothed", {"optimizer": "sgd", "steps": 20}),
    ("transformer", "squared", {"steps": 10, "batch": 4}),
    ("transformer", "categorical", {"steps": 10, "batch": 4}),
    ("lstm", "squared", {"steps": 24}),
    ("lstm", "squared_hinge", {"steps": 24}),
    ("softmax", "categorical", {}),
    ("softmax", "squared", {"optimizer": "sgd"}),
    ("autoencoder", "squared", {"steps": 24}),
    ("autoencoder", "binary", {"steps": 24}),
    ("sequences", "squared", {"steps": 24}),
    ("sequences", "log_cosh", {"steps": 24}),
    ("sequences", "categorical", {"steps": 24}),
    ("conv_classifier", "categorical", {"steps": 24}),
    ("conv_classifier", "hinge", {"steps": 20, "batch": 8, "plan": OF_KINKS}),
    ("depthwise", "squared", {"steps": 24}),
    ("regularised", "squared", {}),
    ("regularised", "categorical", {"optimizer": "sgd"}),
    ("shared", "squared", {"steps": 30}),
    ("two_outputs", "squared+categorical", {}),
    ("mlp", "squared", {"is_weighted": True}),
    ("smooth", "absolute", {"is_weighted": True, "steps": 20, "plan": OF_KINKS}),
    ("mlp", "squared", {"dtype": "float64"}),
    ("smooth", "categorical", {"dtype": "float64"}),
)
_SAMPLED = (
    ("mlp", "squared", "sample", {"horizons": (20, 60)}),
    ("mlp", "categorical", "sample", {}),
    ("mlp", "squared", "examples", {}),
    ("mlp", "categorical", "examples", {}),
    ("residual", "squared", "sample", {}),
    ("autoencoder", "squared", "examples", {}),
    ("conv_classifier", "categorical", "sample", {}),
    ("convnet", "squared", "examples", {}),
    ("lstm", "squared", "sample", {}),
    ("two_outputs", "squared+categorical", "examples", {}),
)
RUNS = [
    Run(model, loss, **({"plan": plan} | options))
    for (model, loss, options), plan in zip(_FULL, itertools.cycle(PLANS), strict=False)
] + [
    Run(model, loss, plan, kept, **({"steps": 60} | options))
    for (model, loss, kept, options), plan in zip(
        _SAMPLED, itertools.cycle(OF_SAMPLES), strict=False
    )
]
