"""A functional model that logs its exact Taylor loss and regret while it trains."""

import copy

import keras
from keras import ops

from keras_taylor.derivatives.method import method_of
from keras_taylor.derivatives.refusals import refuse_stateful
from keras_taylor.models.lookahead import looking_ahead
from keras_taylor.models.observation import Watched, observed, observed_apart
from keras_taylor.models.tracking import ComparatorTracking, SavedTracking, training_batch
from keras_taylor.taylor.own_losses import OwnLoss, has_own
from keras_taylor.trajectory.batches import preprocessing


@keras.saving.register_keras_serializable(package="keras_taylor")
class TaylorModel(Watched, keras.Model):
    """A functional model whose `fit` also logs `taylor_loss` and `taylor_regret`.

    At each round, with weights `W^n`, loss `l^n` and comparator V, over the whole network,

        taylor_loss   = L^n(V) = mean over the batch of l(y, f(x) + <df(x)/dW, V - W^n>)
        taylor_regret = l^n - L^n(V)

    by one Jacobian-vector product, in the forward pass of the training step where that leaves its
    bits alone, else in a pass of its own (models with sums of layers, normalisation by
    LayerNormalization, attention). Both are averages over
    the steps of the epoch, weighted by the batch size as Keras weights the loss, so that they add
    up to it. Penalties (regularisation) are part of the loss and are expanded too.

    Under `tf.distribute` (make the model in the strategy's scope), each replica expands its share
    of the batch, and the sums are those of the whole.

    Training is that of the plain model, to the bit, and so are `evaluate` and `predict`; where sums
    of sums in a graph make plain training differ from run to run in the last bit, it does so too.
    The derivative is checked on the first batch, before a step is taken. The model
    has the weights of the plain one and no others.

    A `compute_loss` of one's own, of a subclass or of the model given to `from_model`, is what
    is trained on and what is evaluated at the moved outputs; what else it reads of the weights is
    expanded as penalties are. With `from_model`, metrics that it updates itself are not logged.

    Args:
        inputs: As of `keras.Model`.
        outputs: As of `keras.Model`.
        comparator: V: `"initial"` (the weights of the first round), `"average"` (the running mean
            of the iterates, this round's included), arrays shaped like the trainable variables, or
            a dictionary of several of these by name, which are logged as `taylor_loss_<name>` and
            `taylor_regret_<name>`.
        **kwargs: `name` and `trainable`, as of `keras.Model`.

    Raises:
        ValueError: if the comparator is none of these or the model has no trainable weights; in
            `fit`, if a subclass has a `train_step` of its own, or a layer writes trainable weights
            when it is called, is recurrent and stateful, or is not differentiated right.

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

    # The model whose own `compute_loss` it trains by, see `from_model`.
    _model_of_loss = None

    def __init__(self, inputs, outputs, comparator="initial", **kwargs):
        super().__init__(inputs, outputs, **kwargs)
        self._comparison = ComparatorTracking(self, comparator)
        # Saved apart from the weights, so that these travel between this and the plain model; past
        # Keras' tracking, which would count it among the layers.
        object.__setattr__(self, "taylor_state", SavedTracking(self._comparison))
        self._comparison.follow(self)

    @classmethod
    def from_model(cls, model, comparator="initial"):
        """Returns a TaylorModel of the same layers: training it trains the given model too.

        Args:
            model: A functional or Sequential model that is built.
            comparator: As of the constructor.

        Raises:
            ValueError: if the model is a subclass of `keras.Model` with its own `call` or
                `train_step`, preprocesses its data in `fit` as KerasHub's tasks do, or has weights
                that are none of its layers'.
        """
        if has_own(model, "train_step"):
            raise ValueError(
                f"model {model.name!r} has a train_step of its own, which a TaylorModel of its "
                "layers would not train by: write the loss as a Keras loss or a `compute_loss`, or "
                "expand single batches by `keras_taylor.taylor_loss` with `loss`"
            )
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
        if preprocessing(model) is not None:
            raise ValueError(
                f"model {model.name!r} preprocesses its data in `fit`, which a TaylorModel of its "
                "layers would not: map that over the data, `dataset.map(model.preprocess_samples)`,"
                " and set `model.preprocessor = None` before `from_model`"
            )
        if isinstance(model, keras.Sequential):
            (inputs,), (outputs,) = model.inputs, model.outputs
        else:
            inputs, outputs = model.input, model.output
        made = cls(inputs, outputs, comparator=comparator, name=model.name)
        _check_same_weights(model, made)
        if has_own(model, "compute_loss"):
            # Past Keras' tracking, which would count it among the layers.
            object.__setattr__(made, "_model_of_loss", model)
        return made

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if self._model_of_loss is None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        return OwnLoss(self._model_of_loss, self._compile_loss)(
            x, y, y_pred, sample_weight, training
        )

    def start_tracking(self):
        """Forgets all rounds; the present weights become the initial ones, as after a burn-in."""
        self._comparison.restart(self)

    def average_taylor_loss(self, name=""):
        """Returns the mean Taylor loss over the rounds since tracking started, a float64 scalar.

        NaN before the first round; values that are not finite are left out. Beside it, the metric
        is the mean over the present epoch.

        Args:
            name: Name of the comparator, where there are several.
        """
        return self._comparison.average(name)

    def make_train_function(self, force=False):
        if has_own(self, "train_step"):
            raise ValueError(
                f"{type(self).__name__} has a train_step of its own in place of that of "
                "TaylorModel, so that its Taylor loss is not known: leave it out"
            )
        refuse_stateful(self)
        # Before a run and not in each of its steps, where asking would cost more than the answer.
        self._comparison.begin(self)
        is_new = self.train_function is None or force
        super().make_train_function(force)
        if is_new:
            self.train_function = looking_ahead(
                self.train_function, self._check, self.steps_per_execution
            )

    def _check(self, data):
        """Chooses on the first batch how the model is differentiated, before a step is traced."""
        # Of several replicas, the first one's share of the batch.
        local = self.distribute_strategy.experimental_local_results
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        x = keras.tree.map_structure(lambda value: _tensor(local(value)[0]), x)
        method_of(self, x, training=True, in_variables=True)

    @property
    def metrics(self):
        is_made = hasattr(self, "_comparison") and self.compiled
        return [*super().metrics, *(self._comparison.metrics() if is_made else [])]

    def train_step(self, data):
        # Eagerly, data may come as arrays, of which Keras would make tensors later.
        data = keras.tree.map_structure(_tensor, data)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        batch = training_batch(self, x, y, sample_weight)
        directions = self._comparison.directions(self)
        train = super().train_step
        observe = observed if batch.state is None else observed_apart
        values, loss = observe(batch, directions, lambda: train(data))
        self._comparison.add(batch, values, loss)
        return self.get_metrics_result()

    def test_step(self, data):
        names = {metric.name for metric in self._comparison.metrics()}
        logs = super().test_step(data)
        return {name: value for name, value in logs.items() if name not in names}

    def save(self, filepath, *args, **kwargs):
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(
                f"{filepath}: a TaylorModel cannot be saved as .h5, which has no place for its "
                "comparators and sums: save it as .keras, or `keras.Model(model.input, "
                "model.output)` of it as .h5"
            )
        return super().save(filepath, *args, **kwargs)

    def get_config(self):
        plain = self._model_of_loss or keras.Model(self.input, self.output, name=self.name)
        return {
            "model": keras.saving.serialize_keras_object(plain),
            "comparator": self._comparison.config(),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        # Keras changes the nested config while it reads it.
        config = copy.deepcopy(config)
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects)
        return cls.from_model(model, config["comparator"])


def _check_same_weights(model, made):
    kept = {id(variable) for variable in made.trainable_variables}
    other = [v.path for v in model.trainable_variables if id(v) not in kept]
    if other:
        raise ValueError(
            f"model {model.name!r} has trainable weights that belong to no layer of its graph "
            f"({', '.join(other)}), which a TaylorModel of its layers would not train: make its "
            "class one of `keras_taylor.TaylorModel` instead of `keras.Model`"
        )


def _is_functional(model):
    """Tells whether a model is a graph of layers, run as such."""
    functional = next((c for c in type(model).__mro__ if c.__name__ == "Functional"), None)
    own = type(model).call
    return functional is not None and own in (functional.call, TaylorModel.call)


def _tensor(value):
    return None if value is None else ops.convert_to_tensor(value)
