"""What all wrappers share, so that `fit` and callbacks act on the wrapped optimizer."""

import copy
import numbers
import warnings

import keras

from keras_taylor import backend
from keras_taylor.optimizers.replicas import check_replicas


class OptimizerWrapper(keras.optimizers.Optimizer):
    """Base of optimizers that wrap another one; abstract.

    Learning rate, iterations, loss scale, moving averages of weights and exclusions from weight
    decay are those of `inner_optimizer`. Other attributes are found there. Subclasses define
    `before_update`, which may change the gradients before the inner optimizer applies them.

    On several replicas, `build` and `apply` raise a ValueError for what Keras itself does wrongly
    there (`keras_taylor.optimizers.replicas`).

    Args:
        inner_optimizer: The Keras optimizer that trains: an object, a name or a configuration.
        name: The name of the optimizer.

    Raises:
        ValueError: if the inner optimizer is or holds a wrapper of the same class, or a
            `LossScaleOptimizer`.
    """

    def __init__(self, inner_optimizer, name=None):
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = _checked(keras.optimizers.get(inner_optimizer), type(self))

    def before_update(self, gradients, variables):
        """Returns the gradients for the inner optimizer to apply.

        Args:
            gradients: The gradients of this replica; some may be `None`.
            variables: The variable of each gradient.

        Returns:
            A list of gradients, one for each variable.
        """
        raise NotImplementedError

    def is_due(self, variables):
        """Tells whether `build` has something to do: once, and for variables.

        Keras builds the optimizer of a model that it reads from an .h5 file for no variables at
        all. It is left as it is, for the first step to build.
        """
        return not self.built and len(variables) > 0

    def after_update(self):
        """Does nothing here; it is called after the inner optimizer has applied the gradients."""

    @property
    def variables(self):
        return self._variables + self.inner_optimizer.variables

    def build(self, variables):
        if not self.is_due(variables):
            return
        check_replicas(self)
        self.inner_optimizer.build(variables)
        super().build(variables)

    @backend.unconverted
    def apply(self, grads, trainable_variables=None):
        gradients = list(grads)
        if not gradients:
            return
        check_replicas(self)
        variables = self._known(gradients, trainable_variables)
        with keras.name_scope(self.name, caller=self):
            gradients = self.before_update(gradients, variables)
        self.inner_optimizer.apply(gradients, variables)
        with keras.name_scope(self.name, caller=self):
            self.after_update()
        backend.add_in_place(self._iterations, 1)

    def _known(self, gradients, variables):
        if variables is None and not self.built:
            raise ValueError(
                f"{self.name} was asked to apply gradients without variables before it was "
                "built: call `optimizer.build(model.trainable_variables)` first"
            )
        variables = list(self._trainable_variables if variables is None else variables)
        if len(gradients) != len(variables):
            raise ValueError(
                f"{self.name} received {len(gradients)} gradients for {len(variables)} variables: "
                "expected one gradient for each variable"
            )
        if not self.built:
            with keras.name_scope(self.name, caller=self):
                self.build(variables)
        self._check_variables_are_known(variables)
        return variables

    @property
    def learning_rate(self):
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self):
        return self.inner_optimizer.iterations

    @property
    def loss_scale_factor(self):
        return self.inner_optimizer.loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, factor):
        # The constructor of Keras sets it before there is an inner optimizer.
        if "inner_optimizer" in self.__dict__:
            self.inner_optimizer.loss_scale_factor = factor

    @property
    def _model_variables_moving_average(self):
        # SwapEMAWeights looks for it in the optimizer that a model's own wraps, and no deeper.
        return self.inner_optimizer._model_variables_moving_average

    def scale_loss(self, loss):
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list):
        self.inner_optimizer.finalize_variable_values(var_list)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def set_weights(self, weights):
        _check_count(self, len(weights), "the given weights have")
        for variable, weight in zip(self.variables, weights, strict=True):
            variable.assign(weight)

    def load_own_variables(self, store):
        # As Keras does: a model's weights load, whatever optimizer they were saved with.
        saved = [tuple(store[str(number)].shape) for number in range(len(store.keys()))]
        if self.built and saved == [tuple(variable.shape) for variable in self.variables]:
            super().load_own_variables(store)
            return
        state = f"has {len(self.variables)} variables" if self.built else "is not built yet"
        warnings.warn(
            f"the state of {self.name} was not loaded: it {state}, and the saved optimizer has "
            f"{len(saved)}, of other shapes. The optimizer keeps its present state, and tracked "
            "sums start from zero with the next round",
            stacklevel=2,
        )
        for optimizer in wrapped(self):
            if isinstance(optimizer, OptimizerWrapper):
                optimizer.start_again()

    def start_again(self):
        """Forgets the rounds so far, for weights that come from elsewhere; by default nothing."""

    def __deepcopy__(self, memo):
        """Returns an optimizer of the same variables with a state of its own."""
        copied = memo[id(self)] = type(self).from_config(self.get_config())
        if self.built:
            copied.build(self._trainable_variables)
            copied.set_weights([variable.numpy() for variable in self.variables])
        return copied

    def __reduce__(self):
        if self.built:
            raise TypeError(
                f"{self.name} is built, and its state belongs to the variables of a model, which a "
                "pickle of it does not hold: save the model (`model.save`), pickle the "
                "model or the optimizer before it is built, or take `copy.deepcopy` of it"
            )
        return _of_config, (type(self), self.get_config())

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.inner_optimizer)
        return {"name": self.name, "inner_optimizer": inner}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        # Keras changes the nested configuration while reading it.
        config = copy.deepcopy(config)
        inner = keras.saving.deserialize_keras_object(
            config.pop("inner_optimizer"), custom_objects=custom_objects
        )
        return cls(inner, **config)


def wrapped(optimizer):
    """Yields an optimizer, then the one that it wraps, and so on to the innermost."""
    while optimizer is not None:
        yield optimizer
        optimizer = getattr(optimizer, "inner_optimizer", None)


def _of_config(kind, config):
    return kind.from_config(config)


def momentum_of(optimizer):
    """Returns the momentum of the optimizer that others wrap, from 0 up to but not 1.

    That is `momentum` (SGD, RMSprop) or `beta_1` (Adam and its kin, Lion); 0 for optimizers that
    have neither.
    """
    *_, innermost = wrapped(optimizer)
    found = (getattr(innermost, name, None) for name in ("momentum", "beta_1"))
    known = (float(value) for value in found if isinstance(value, numbers.Real))
    return next((value for value in known if 0 <= value < 1), 0.0)


def _checked(optimizer, wrapper):
    for inner in wrapped(optimizer):
        if isinstance(inner, keras.mixed_precision.LossScaleOptimizer):
            raise ValueError(
                f"{wrapper.__name__} cannot wrap a LossScaleOptimizer, whose gradients are not "
                f"yet unscaled: write LossScaled({wrapper.__name__}(...)) instead"
            )
        if isinstance(inner, wrapper):
            raise ValueError(
                f"{wrapper.__name__} cannot wrap another {wrapper.__name__}, received "
                f"{optimizer.name!r}: wrap the innermost optimizer once"
            )
    return optimizer


def _check_count(optimizer, variable_count, holder):
    if not optimizer.built:
        raise ValueError(
            f"{optimizer.name} is not built and has no state to load into: call "
            "`optimizer.build(model.trainable_variables)` first"
        )
    if variable_count != len(optimizer.variables):
        raise ValueError(
            f"{holder} {variable_count} variables, {optimizer.name} has "
            f"{len(optimizer.variables)}: "
            "expected the state of the same wrapper around the same optimizer and model"
        )
