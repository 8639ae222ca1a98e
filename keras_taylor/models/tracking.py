"""What a `TaylorModel` keeps beside its weights: comparators, sums, metrics."""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_taylor import backend
from keras_taylor.derivatives.method import method_of
from keras_taylor.models import comparators
from keras_taylor.models.observation import may_share
from keras_taylor.taylor.batch import Batch
from keras_taylor.taylor.training_loss import loss_owner, training_loss
from keras_taylor.tracking.linear_regret import average
from keras_taylor.weights.scopes import Scopes


class SavedTracking(keras.layers.Layer):
    """Saves and loads a `ComparatorTracking` with the model, apart from its weights."""

    def __init__(self, tracking):
        super().__init__(name="taylor_state")
        object.__setattr__(self, "_tracking", tracking)

    def kept_variables(self):
        """Returns the variables that are kept beside the model's weights."""
        return self._tracking.variables()

    def save_own_variables(self, store):
        for index, variable in enumerate(self.kept_variables()):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store):
        # A plain model's file has nothing to load.
        if len(store.keys()):
            self._tracking.load([store[str(index)] for index in range(len(store.keys()))])


class ComparatorTracking:
    """The Taylor losses of a model at its comparators, over the rounds of training.

    Keras does not track it as an attribute of the model, so that the model has the weights of the
    plain one and no others.

    Args:
        model: A `keras_taylor.TaylorModel`.
        comparator: As of the model.
    """

    def __init__(self, model, comparator):
        self._comparator = comparator
        self._tracked = _paths(model)
        self._comparators = comparators.made(comparator, model.trainable_variables)
        self._rounds = keras.Variable(0, dtype="int64", trainable=False, name="rounds")
        # Sum and number of the Taylor losses that are finite, a row for each comparator: few
        # operations, which on small models cost more than the arithmetic.
        self._sums = keras.Variable(
            np.zeros((len(self._comparators), 2)), dtype="float64", trainable=False, name="sums"
        )
        self._metrics = {
            name: tuple(
                EpochMean(name=f"{kind}_{name}" if name else kind)
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
        return [self._rounds, self._sums, *kept]

    def follow(self, model):
        """Lets `tf.train.Checkpoint` of a model hold the variables, too.

        What Keras does not track as an attribute, TensorFlow passes over in silence; it has no
        public way to name a dependency that is no attribute.
        """
        kept = tf.train.Checkpoint(variables=[variable.value for variable in self.variables()])
        model._track_trackable(kept, "taylor_state", overwrite=True)

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
        """Forgets all rounds and takes the present weights as the first ones."""
        for variable in (self._rounds, self._sums):
            variable.assign(ops.zeros_like(variable))
        self.begin(model)

    def average(self, name):
        """Returns the mean Taylor loss at a comparator over the rounds; NaN without any."""
        names = list(self._comparators)
        if name not in names:
            raise ValueError(
                f"unknown comparator {name!r}: expected one of {', '.join(map(repr, names))}"
            )
        total, finite = ops.unstack(ops.convert_to_tensor(self._sums)[names.index(name)])
        return average(total, finite)

    def config(self):
        """Returns the comparators as `keras_taylor.models.comparators.made` takes them."""
        configs = {name: kept.config() for name, kept in self._comparators.items()}
        return configs[""] if list(configs) == [""] else configs

    def begin(self, model):
        """Lets the comparators take the weights of the first round, if none has run yet."""
        if self._tracked != _paths(model):
            self._thaw(model)
        if int(ops.convert_to_numpy(self._rounds)) == 0:
            for comparator in self._comparators.values():
                comparator.begin(model.trainable_variables)

    def _thaw(self, model):
        """Follows a model whose layers were frozen or thawed before the first round."""
        if int(ops.convert_to_numpy(self._rounds)):
            raise ValueError(
                f"the trainable weights of model {model.name!r} changed after its first round: "
                "make a new TaylorModel of it"
            )
        self._comparators = comparators.made(self._comparator, model.trainable_variables)
        self._tracked = _paths(model)
        self.follow(model)

    def directions(self, model):
        """Returns `V - W^n` for each comparator V, and counts the round."""
        weights = backend.snapshot(model.trainable_variables)
        found = []
        for comparator in self._comparators.values():
            targets = comparator.at(weights, self._rounds)
            found.append([v - w for v, w in zip(targets, weights, strict=True)])
        self._rounds.assign_add(1)
        return found

    def add(self, batch, values, loss):
        """Adds the Taylor losses of a round to sums and metrics.

        Args:
            batch: The round's `keras_taylor.taylor.batch.Batch`.
            values: The Taylor losses along `directions`.
            loss: The training loss of the round.
        """
        examples = ops.shape(keras.tree.flatten(batch.x)[0])[0]
        values = ops.stack([ops.cast(value, loss.dtype) for value in values])
        (total,) = backend.sum_over_replicas([values])
        rows = ops.stack([total, ops.ones_like(total)], axis=1)
        rows = ops.where(ops.isfinite(total)[:, None], rows, 0.0)
        self._sums.assign_add(ops.cast(rows, "float64"))
        # Metrics add up replicas with the means of their shares, as Keras' loss does.
        replicas = backend.replica_count()
        values, loss = ops.unstack(values * replicas), loss * replicas
        for (taylor_loss, regret), value in zip(self._metrics.values(), values, strict=True):
            taylor_loss.update_state(value, examples)
            regret.update_state(loss - value, examples)


def training_batch(model, x, y, sample_weight):
    """Returns the `Batch` of a training step, at the values of the model's variables.

    Where the expansion has a forward pass of its own, the batch has copies of them, and of the
    state that this pass begins with.
    """
    method = method_of(model, x, training=True, in_variables=True)
    weights = [variable.value for variable in model.trainable_variables]
    state = None
    # A loss of one's own may read weights and state, which the update changes.
    if loss_owner(model) is not None or not may_share(model, method):
        seal = functools.partial(backend.sealed, jit_compile=model.jit_compile)
        weights = seal(backend.snapshot(model.trainable_variables))
        state = seal(backend.snapshot(model.non_trainable_variables))
        x = keras.tree.pack_sequence_as(x, seal(keras.tree.flatten(x)))
    return Batch(
        model=model,
        x=x,
        y=y,
        sample_weight=sample_weight,
        compiled=training_loss(model),
        training=True,
        method=method,
        scopes=Scopes(model.trainable_variables),
        weights=weights,
        state=state,
    )


class EpochMean(keras.metrics.Mean):
    """A mean of scalars, without what Keras does for values of other shapes."""

    def update_state(self, value, examples):
        """Adds a scalar with the number of examples that it is the mean of."""
        examples = ops.cast(examples, self.dtype)
        self.total.assign_add(ops.cast(value, self.dtype) * examples)
        self.count.assign_add(examples)


def _paths(model):
    return [variable.path for variable in model.trainable_variables]
