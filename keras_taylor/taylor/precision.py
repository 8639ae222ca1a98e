"""A model and its loss in float64, for bounds that hold in floating point.

A lower bound is one only if rounding cannot lift it, and a value is an upper bound only if rounding
cannot lower it. So bounds are evaluated with everything between weights, batch and loss in float64,
whatever the model's dtype.
"""

import contextlib
import threading
import weakref

import keras
from keras import losses

from keras_taylor.taylor import convexity

WIDE = "float64"
FLOATS = ("float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16")

_copies = weakref.WeakKeyDictionary()


def widened(model):
    """Returns a model like a given one that computes in float64, or `None` where that fails.

    It has the same variables in the same order; their values do not matter, since it is called on
    given ones. A model that computes in float64 already is returned itself. One whose configuration
    cannot be read back, such as a subclass of `keras.Model` without `get_config`, has no copy.

    Args:
        model: A built Keras model.
    """
    if _is_wide(model):
        return model
    # Freezing a layer changes which variables are trainable.
    key = tuple(variable.path for variable in model.trainable_variables)
    copies = _copies.setdefault(model, {})
    if key not in copies:
        copies[key] = _copy(model)
    return copies[key]


def _is_wide(model):
    dtypes = {layer.compute_dtype for layer in model._flatten_layers(include_self=False)}
    return dtypes | {v.dtype for v in model.trainable_variables} == {WIDE}


def _copy(model):
    # In float64, random numbers are other ones.
    if any(map(_draws, model._flatten_layers(include_self=False))):
        return None
    # A plain model of the same layers: a subclass may have more to its configuration.
    is_plain = isinstance(model, keras.Sequential) or not _is_functional(model)
    plain = model if is_plain else keras.Model(model.input, model.output)
    try:
        config = _wide_config(keras.saving.serialize_keras_object(plain))
        with floatx(WIDE):
            copy = keras.saving.deserialize_keras_object(config, safe_mode=False)
            _mend(plain, copy)
    except (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
    return copy if copy.built and _table(model) == _table(copy) else None


def _mend(model, copy):
    """Makes a copy what its model became after it was made, which no configuration has.

    Layers may have been frozen, each by itself, and LoRA may have been enabled on them.
    """
    pairs = list(zip(*(m._flatten_layers(include_self=False) for m in (model, copy)), strict=True))
    for layer, copied in pairs:
        if getattr(layer, "lora_enabled", False):
            if not copied.lora_enabled:
                copied.enable_lora(layer.lora_rank)
            # Layers that are read back have their rank for it.
            copied.lora_alpha = layer.lora_alpha
    # Outer layers set the flags of inner ones.
    for layer, copied in pairs:
        copied.trainable = layer.trainable
    for layer, copied in pairs:
        variables = zip(layer._trainable_variables, copied._trainable_variables, strict=True)
        for variable, other in variables:
            other.trainable = variable.trainable
    for variable in copy.trainable_variables:
        # Keras makes weights of LoRA in float32, whatever it is told. Their values are given in
        # each call, so that the dtype is all there is to change; it has no public setter.
        variable._dtype = WIDE


def _draws(layer):
    """Tells whether a layer may draw random numbers in training."""
    names = ("rate", "dropout", "recurrent_dropout", "stddev")
    rates = [getattr(layer, name) for name in names if hasattr(layer, name)]
    return hasattr(layer, "seed_generator") and (not rates or any(rates))


def _table(model):
    """Returns name and shape of each variable; how paths begin may differ in a copy."""
    variables = (*model.trainable_variables, *model.non_trainable_variables)
    return [(v.path.rpartition("/")[2], tuple(v.shape)) for v in variables]


def _is_functional(model):
    """Tells whether a model is a graph of layers that runs as such."""
    functional = next((c for c in type(model).__mro__ if c.__name__ == "Functional"), None)
    return functional is not None and type(model).call is functional.call


def _wide_config(config):
    """Returns a configuration with float64 in place of every floating dtype."""
    if isinstance(config, dict):
        return {
            key: WIDE
            if key in ("dtype", "name") and _names_dtype(key, value, config)
            else _wide_config(value)
            for key, value in config.items()
            if key != "compile_config"
        }
    if isinstance(config, (list, tuple)):
        return type(config)(map(_wide_config, config))
    return config


def _names_dtype(key, value, config):
    # A policy has its dtype as its only entry, `name`; layers have a name too.
    return (
        isinstance(value, str) and value in FLOATS and (key == "dtype" or set(config) == {"name"})
    )


# Keras' dtype is one for all threads: two that set it at once would restore each other's.
_setting_dtype = threading.RLock()


@contextlib.contextmanager
def floatx(dtype):
    """Context in which Keras makes layers and losses of a dtype, in one thread at a time."""
    with _setting_dtype:
        yield from _with_dtype(dtype)


def _with_dtype(dtype):
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


class WideLoss(losses.Loss):
    """A Keras loss that is computed in float64.

    Args:
        loss: A Keras loss.
    """

    def __init__(self, loss):
        super().__init__(name=loss.name, reduction=loss.reduction, dtype=WIDE)
        self._loss, self.fn = loss, convexity.function_of(loss)
        self.convex_in_output = convexity.is_convex(loss)
        self.quadratic_in_output = convexity.is_quadratic(loss)

    def call(self, y_true, y_pred):
        """Returns the loss of each example."""
        return self._loss.call(y_true, y_pred)

    def get_config(self):
        return self._loss.get_config()
