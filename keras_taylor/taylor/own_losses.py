"""A `compute_loss` of a model's own, as a function of the points its outputs are expanded at.

Let C(f, W) be what `compute_loss` returns for outputs f: penalties and whatever else it reads of
the weights are the W in it. Its Taylor loss has the outputs moved, and is linear in the rest:

    L_s(V) = C(T_s(V), W) + <dC/dW_s (f, W), V_s - W_s>

so `L(W)` is the loss of training, its gradient there is that of training, and it is convex in V
where C is convex in f.
"""

import contextlib
import dataclasses
import functools
import warnings

import keras
from keras import ops

from keras_taylor.taylor.outputs import OutputLoss

# Packages whose methods of training are known.
OURS = {"keras", "keras_taylor", "tensorflow"}


def has_own(model, method):
    """Tells whether a model has a method of its own in place of that of Keras.

    Args:
        model: A model.
        method: `"compute_loss"` or `"train_step"`.
    """
    return method in vars(model) or _owner(model, method).__module__.partition(".")[0] not in OURS


def _owner(model, method):
    return next(kind for kind in type(model).__mro__ if method in vars(kind))


@dataclasses.dataclass(frozen=True)
class OwnLoss:
    """The `compute_loss` of a model that has its own.

    Args:
        model: The model whose method it is.
        compiled: The loss as Keras compiles it, which the method may ask for; `None` without one.

    Example:

    >>> class Own(keras.Model):
    ...     def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
    ...         return keras.ops.mean((y - y_pred) ** 2)
    >>> inputs = keras.Input((2,))
    >>> model = Own(inputs, keras.layers.Dense(1)(inputs))
    >>> loss = OwnLoss(model, compiled=None)
    >>> loss.name, loss.is_convex, float(loss(None, np.ones(4), np.zeros(4), None))
    ('Own.compute_loss', False, 1.0)
    """

    model: keras.Model
    compiled: object

    @property
    def name(self):
        """The name of the method, with the class that it is of."""
        return f"{_owner(self.model, 'compute_loss').__name__}.compute_loss"

    @property
    def is_convex(self):
        """Whether the model's class declares it so by an attribute `convex_in_output = True`."""
        return bool(getattr(self.model, "convex_in_output", False))

    def __call__(self, x, y, y_pred, sample_weight, training=True, penalties=None):
        """Returns the loss, which Keras calls like this.

        Args:
            x: As of Keras.
            y: As of Keras.
            y_pred: As of Keras.
            sample_weight: As of Keras.
            training: As of Keras.
            penalties: What `model.losses` has meanwhile; by default what it has.
        """
        lent = {"_compile_loss": self.compiled}
        if penalties is not None:
            lent["_losses_override"] = list(penalties)
        with _lent(self.model, lent):
            # Keras' own way to call it, whether it takes `training` or not.
            return self.model._compute_loss(x, y, y_pred, sample_weight, training)


@contextlib.contextmanager
def _lent(model, attributes):
    """Context in which a model has other attributes, past the tracking of Keras and TensorFlow."""
    before = {name: getattr(model, name) for name in attributes}
    for name, value in attributes.items():
        object.__setattr__(model, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            object.__setattr__(model, name, value)


@dataclasses.dataclass(frozen=True)
class OwnOutputLoss(OutputLoss):
    """An `OwnLoss` on one batch; it is expanded where the compiled loss, if any, would be.

    Args:
        compiled: The compiled loss, built.
        own: The `OwnLoss`.
        x: Inputs.
        training: Whether the model runs in training mode.
        values: Pairs of a variable and the value that it has meanwhile.
        penalties: What the run of the model left: regularisation, `add_loss`.
    """

    own: OwnLoss
    x: object
    training: bool
    values: list
    penalties: list

    is_own = True
    # Nothing is known of it.
    is_quadratic = is_kinked = False

    @classmethod
    def of_run(cls, own, x, y, outputs, training, values, penalties):
        """Returns the loss of one run of a model, see the arguments of the class."""
        if own.compiled is not None and not own.compiled.built:
            own.compiled.build(y, outputs)
        if not own.is_convex:
            _warn_not_convex(own.name)
        return cls(own.compiled, own, x, training, values, penalties)

    @property
    def not_convex(self):
        """The name of the method unless it is declared to be convex, a list."""
        return [] if self.own.is_convex else [self.own.name]

    def __call__(self, y, outputs, points, sample_weight=None):
        predictions = self.predictions(outputs, points)
        options = {"training": self.training, "penalties": self.penalties}
        with keras.StatelessScope(self.values):
            value = self.own(self.x, y, predictions, sample_weight, **options)
        if ops.ndim(value):
            raise ValueError(
                f"{self.own.name} returned a tensor of shape {tuple(value.shape)}, expected a "
                "scalar, the loss of the batch: let it return the mean or the sum"
            )
        return value

    def penalty(self, y, outputs, points, sample_weight, penalties):
        # Of no value beside the loss, which has all in it, and with the gradient in the weights.
        del penalties
        value = self(y, outputs, list(map(ops.stop_gradient, points)), sample_weight)
        return value - ops.stop_gradient(value)

    def replaced(self, function, y, outputs):
        del function, y, outputs
        return self


@functools.cache
def _warn_not_convex(name):
    warnings.warn(
        f"{name} is not known to be convex in the model's output: its Taylor loss may not be "
        "convex in the comparator, and has no certified optimum. If it is convex, give its class "
        "an attribute `convex_in_output = True`",
        stacklevel=2,
    )
