"""A functional model that logs its exact Taylor loss and regret while it trains."""

import copy

import keras
import tensorflow as tf
from keras import ops

from keras_taylor import backend, checks, expansion
from keras_taylor.linear_regret import average
from keras_taylor.models import comparators
from keras_taylor.outputs import OutputLoss


@keras.saving.register_keras_serializable(package="keras_taylor")
class TaylorModel(keras.Model):
    """A functional model whose `fit` also logs `taylor_loss` and `taylor_regret`.

    At each round, with weights `W^n`, loss `l^n` and comparator V, over the whole network,

        taylor_loss   = L^n(V) = mean over the batch of l(y, f(x) + <df(x)/dW, V - W^n>)
        taylor_regret = l^n - L^n(V)

    by one Jacobian-vector product in the forward pass of the training step. Both are averages over
    the steps of the epoch, weighted by the batch size as Keras weights the loss, so that they add
    up to it. Penalties (regularisation) are part of the loss and are expanded too.

    Training is that of the plain model, to the bit, and so are `evaluate` and `predict`. The model
    has the weights of the plain one and no others.

    Args:
        inputs: As of `keras.Model`.
        outputs: As of `keras.Model`.
        comparator: V: `"initial"` (the weights of the first round), `"average"` (the running mean
            of the iterates, this round's included), arrays shaped like the trainable variables, or
            a dictionary of several of these by name, which are logged as `taylor_loss_<name>` and
            `taylor_regret_<name>`.
        **kwargs: `name` and `trainable`, as of `keras.Model`.

    Raises:
        ValueError: if the comparator is none of these, the model has no trainable weights, or is
            trained under a strategy with several replicas; in `fit`, if the logits of a
            cross-entropy cannot be reached or a layer is not differentiated right.

    Example:

    >>> inputs = keras.Input((4,))
    >>> model = TaylorModel(inputs, keras.layers.Dense(1)(inputs), comparator="average")
    >>> model.compile(keras.optimizers.SGD(0.1), loss="mse")
    >>> history = model.fit(np.ones((8, 4)), np.ones((8, 1)), batch_size=4, verbose=0)
    >>> sorted(history.history)
    ['loss', 'taylor_loss', 'taylor_regret']

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; the
    formulas are a reconstruction.
    """

    def __init__(self, inputs, outputs, comparator="initial", **kwargs):
        super().__init__(inputs, outputs, **kwargs)
        self._taylor = _Taylor(self, comparator)
        # A saved part of its own, so that weights travel between this and the plain model; past
        # Keras' tracking, which would count it among the layers.
        object.__setattr__(self, "taylor_state", _State(self._taylor))

    @classmethod
    def from_model(cls, model, comparator="initial"):
        """Returns a TaylorModel of the same layers: training it trains the given model too.

        Args:
            model: A functional or Sequential model that is built.
            comparator: As of the constructor.

        Raises:
            ValueError: if the model is a subclass of `keras.Model` with a `call` of its own.
        """
        if not isinstance(model, keras.Sequential) and not _is_functional(model):
            raise ValueError(
                f"model {model.name!r} is neither functional nor Sequential: a TaylorModel needs "
                "the graph of layers. Write it as a functional model, or call "
                "`keras_taylor.taylor_loss` on it"
            )
        if not model.built:
            raise ValueError(
                f"model {model.name!r} is not built: give it an Input, or build it, first"
            )
        if isinstance(model, keras.Sequential):
            (inputs,), (outputs,) = model.inputs, model.outputs
        else:
            inputs, outputs = model.input, model.output
        return cls(inputs, outputs, comparator=comparator, name=model.name)

    def start_tracking(self):
        """Begins anew: the present weights become the initial ones. For use after a burn-in."""
        self._taylor.restart(self)

    def average_taylor_loss(self, name=""):
        """Returns the mean Taylor loss over the rounds since tracking started, a float64 scalar.

        NaN before the first round; values that are not finite are left out. Beside it, the metric
        is the mean over the present epoch.

        Args:
            name: Name of the comparator, where there are several.
        """
        return self._taylor.average(name)

    def make_train_function(self, force=False):
        if self.distribute_strategy.num_replicas_in_sync > 1:
            raise ValueError(
                "a TaylorModel cannot be trained on several replicas yet: train it outside of the "
                "strategy, or use keras_taylor.optimizers.RegretTracker, which can"
            )
        # Before a run and not in each of its steps, where asking would cost more than the answer.
        self._taylor.start(self)
        return super().make_train_function(force)

    @property
    def metrics(self):
        own = self._taylor.metrics() if hasattr(self, "_taylor") and self.compiled else []
        return [*super().metrics, *own]

    def train_step(self, data):
        # Eagerly, data may come as arrays, of which Keras would make tensors later.
        data = keras.tree.map_structure(_tensor, data)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        step = self._taylor.step(self, x, y)
        self._taylor.current = step
        try:
            super().train_step(data)
        finally:
            self._taylor.current = None
        self._taylor.update(step, x, y, sample_weight)
        return self.get_metrics_result()

    def test_step(self, data):
        names = {metric.name for metric in self._taylor.metrics()}
        logs = super().test_step(data)
        return {name: value for name, value in logs.items() if name not in names}

    def __call__(self, *args, **kwargs):
        run = super().__call__
        step = self._taylor.current if hasattr(self, "_taylor") else None
        return run(*args, **kwargs) if step is None else step.run(lambda: run(*args, **kwargs))

    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        if self._taylor.current is not None:
            self._taylor.current.loss = loss
        return loss

    def get_config(self):
        plain = keras.Model(self.input, self.output, name=self.name)
        return {
            "model": keras.saving.serialize_keras_object(plain),
            "comparator": self._taylor.config(),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        # Keras changes the nested config while it reads it.
        config = copy.deepcopy(config)
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects)
        return cls.from_model(model, config["comparator"])


def _is_functional(model):
    """Tells whether a model is a graph of layers, run as such."""
    functional = next((c for c in type(model).__mro__ if c.__name__ == "Functional"), None)
    own = type(model).call
    return functional is not None and own in (functional.call, TaylorModel.call)


class _State(keras.layers.Layer):
    """Saves and loads what a TaylorModel keeps beside its weights."""

    def __init__(self, taylor):
        super().__init__(name="taylor_state")
        object.__setattr__(self, "_taylor", taylor)

    def save_own_variables(self, store):
        for index, variable in enumerate(self._taylor.variables()):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store):
        # A plain model's file has nothing to load.
        if len(store.keys()):
            self._taylor.load([store[str(index)] for index in range(len(store.keys()))])


class _Taylor:
    """What a TaylorModel keeps beside its weights; no attribute of Keras' tracking."""

    def __init__(self, model, comparator):
        self.current = None
        self._comparator = comparator
        self._tracked = _paths(model)
        self._comparators = comparators.made(comparator, model.trainable_variables)
        self._count = keras.Variable(0, dtype="int64", trainable=False, name="rounds")
        # Sum and number of the Taylor losses that are finite, for each comparator.
        self._sums, self._counts = (
            {
                name: keras.Variable(0, dtype=dtype, trainable=False, name="taylor_loss_sum")
                for name in self._comparators
            }
            for dtype in ("float64", "int64")
        )
        self._metrics = {
            name: tuple(
                keras.metrics.Mean(name=f"{kind}_{name}" if name else kind)
                for kind in ("taylor_loss", "taylor_regret")
            )
            for name in self._comparators
        }

    def metrics(self):
        """Returns the metrics of all comparators."""
        return [metric for pair in self._metrics.values() for metric in pair]

    def variables(self):
        """Returns what has to be saved so that training goes on as if it had not stopped."""
        kept = [v for comparator in self._comparators.values() for v in comparator.variables]
        return [*self._totals(), *kept]

    def _totals(self):
        return [self._count, *self._sums.values(), *self._counts.values()]

    def load(self, arrays):
        """Takes what `variables` held when the model was saved."""
        variables = self.variables()
        if len(arrays) != len(variables):
            raise ValueError(
                f"the saved TaylorModel has {len(arrays)} variables beside its weights, this one "
                f"{len(variables)}: expected the same comparators"
            )
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        for comparator in self._comparators.values():
            comparator.is_loaded = True

    def restart(self, model):
        """Forgets all rounds and starts from the present weights."""
        for variable in self._totals():
            variable.assign(ops.zeros_like(variable))
        self.start(model)

    def average(self, name):
        """Returns the mean Taylor loss at a comparator over the rounds; NaN without any."""
        if name not in self._sums:
            raise ValueError(
                f"unknown comparator {name!r}: expected one of {', '.join(map(repr, self._sums))}"
            )
        return average(self._sums[name], self._counts[name])

    def config(self):
        """Returns the comparators as `keras_taylor.models.comparators.made` takes them."""
        configs = {name: kept.config() for name, kept in self._comparators.items()}
        return configs[""] if list(configs) == [""] else configs

    def start(self, model):
        """Lets the comparators take the weights of the first round, if none has run yet."""
        if self._tracked != _paths(model):
            self._thaw(model)
        if int(self._count) == 0:
            for comparator in self._comparators.values():
                comparator.start(model.trainable_variables)

    def _thaw(self, model):
        """Follows a model whose layers were frozen or thawed before the first round."""
        if int(self._count):
            raise ValueError(
                f"the trainable weights of model {model.name!r} changed after its first round: "
                "make a new TaylorModel of it"
            )
        self._comparators = comparators.made(self._comparator, model.trainable_variables)
        self._tracked = _paths(model)

    def step(self, model, x, y):
        """Returns a step towards the comparators of this round."""
        method = checks.method_of(model, x, training=True, in_variables=True)
        weights = backend.snapshot(model.trainable_variables)
        parts = []
        for comparator in self._comparators.values():
            targets = comparator.at(weights, self._count)
            parts.append([v - w for v, w in zip(targets, weights, strict=True)])
        self._count.assign_add(1)
        return _Step(model, method, parts, x, y)

    def update(self, step, x, y, sample_weight):
        """Adds the Taylor losses of a step that has run to the metrics."""
        examples = ops.shape(keras.tree.flatten(x)[0])[0]
        values = step.taylor_losses(y, sample_weight)
        for name, value in zip(self._metrics, values, strict=True):
            loss, regret = self._metrics[name]
            value = ops.cast(value, step.loss.dtype)
            is_finite = ops.isfinite(value)
            self._sums[name].assign_add(ops.cast(ops.where(is_finite, value, 0.0), "float64"))
            self._counts[name].assign_add(ops.cast(is_finite, "int64"))
            loss.update_state(value, sample_weight=examples)
            regret.update_state(step.loss - value, sample_weight=examples)


def _tensor(value):
    return None if value is None else ops.convert_to_tensor(value)


def _paths(model):
    return [variable.path for variable in model.trainable_variables]


class _Step:
    """One training step: runs the model's forward pass once and keeps what comes out of it."""

    def __init__(self, model, method, parts, x, y):
        self.loss = None
        self._model, self._method, self._parts, self._x, self._y = model, method, parts, x, y
        self._output_loss = OutputLoss(model)

    def run(self, call):
        """Runs the model by `call()` and returns its outputs."""
        model = self._model
        # The pass runs once: what is called in it (nested copies of the model) runs plainly.
        model._taylor.current, step = None, self

        def forward():
            step._outputs = call()
            return step._output_loss.points(step._y, step._outputs)

        with tf.GradientTape() as tape:
            self._points, self._tangents = expansion.expand(
                self._method, model, forward, self._parts, inputs=self._x
            )
            # Each reading makes the penalties anew.
            penalties = model.losses
            self._penalty = sum(ops.sum(penalty) for penalty in penalties)
        self._slopes = None
        if penalties:
            weights = [v.value for v in model.trainable_variables]
            self._slopes = expansion.gradients(tape, self._penalty, weights)
        model._taylor.current = self
        return self._outputs

    def taylor_losses(self, y, sample_weight):
        """Returns the Taylor loss of each comparator."""
        return [
            self._taylor_loss(y, sample_weight, tangents, part)
            for tangents, part in zip(self._tangents, self._parts, strict=True)
        ]

    def _taylor_loss(self, y, sample_weight, tangents, part):
        moved = [point + t for point, t in zip(self._points, tangents, strict=True)]
        value = self._output_loss(y, self._outputs, moved, sample_weight)
        if self._slopes is None:
            return value
        moves = sum(ops.sum(s * step) for s, step in zip(self._slopes, part, strict=True))
        return value + self._penalty + moves
