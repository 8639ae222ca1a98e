"""What a run is of: model, loss and optimizer by their configurations, so that two compare.

Left out is what does not change what is computed: names, where a class was defined, initialisers,
seeds and batch sizes, and a learning rate that is a number, since callbacks change it and a
checkpoint restores it.
"""

import inspect
import numbers
import warnings

import keras

from keras_taylor.taylor import convexity
from keras_taylor.taylor.own_losses import OwnLoss
from keras_taylor.taylor.training_loss import loss_owner

IGNORED = {
    "batch_shape",
    "build_config",
    "code",  # Of a lambda; it has the lines of its file in it.
    "compile_config",
    "module",
    "name",
    "registered_name",
    "seed",
    "shared_object_id",
}


def identity(model):
    """Returns what a compiled model is, a dictionary that JSON can hold.

    Its entries `model`, `loss` and `optimizer` are nested dictionaries and lists; each is `None`
    where there is none, or where Keras cannot serialise it.

    Example:

    >>> layers = [keras.Input((2,)), keras.layers.Dense(1, "relu")]
    >>> model = keras.Sequential(layers)
    >>> model.compile("sgd", loss="mse")
    >>> identity(model)["loss"]["loss"]["function"]
    'mean_squared_error'
    >>> difference(model_identity(model), model_identity(keras.Sequential(layers)))
    """
    return {
        "model": model_identity(model),
        "loss": loss_identity(model),
        "optimizer": optimizer_identity(model.optimizer),
    }


def model_identity(model):
    """Returns the layers of a model and how they are connected; `None` where that is not known."""
    config = serialized(_graph(model))
    return None if config is None else _compared(config)


def loss_identity(model, loss=None):
    """Returns a loss of a model: functions, options, reductions and weights of its outputs.

    And the name of the `compute_loss` that it trains by, if that is its own.

    Args:
        model: A compiled model.
        loss: A Keras loss in place of the one that it was compiled with.
    """
    names = getattr(model, "output_names", None) or []
    weights = _loss_weights(model) if loss is None else None
    owner = loss_owner(model) if loss is None else None
    loss = model.loss if loss is None else loss
    found = {
        "loss": _by_output(loss, names, _loss),
        "weights": _by_output(weights, names, lambda weight: weight),
    }
    return found if owner is None else found | {"compute_loss": OwnLoss(owner, None).name}


def optimizer_identity(optimizer):
    """Returns the kind and the options of an optimizer, wrapped ones too."""
    config = serialized(optimizer)
    return type(optimizer).__name__ if config is None else _compared(config)


def serialized(value):
    """Returns the configuration of a Keras object, or `None` where Keras cannot give it."""
    return _or_none(lambda: keras.saving.serialize_keras_object(value))


def difference(recorded, found, place="", only_shared=False):
    """Returns where two identities differ first and how, or `None`.

    Args:
        recorded: What a run was of.
        found: What is there now.
        place: What both are, for the text.
        only_shared: Whether options that one of them does not have are passed over, as between two
            versions of Keras.
    """
    if isinstance(recorded, dict) and isinstance(found, dict):
        keys = [*recorded, *(key for key in found if key not in recorded)]
        if only_shared:
            keys = [key for key in keys if key in recorded and key in found]
        pairs = [(f"{place}.{key}", recorded.get(key), found.get(key)) for key in keys]
    elif isinstance(recorded, list) and isinstance(found, list):
        if len(recorded) != len(found):
            return f"{place} had {len(recorded)} entries, now it has {len(found)}"
        both = zip(recorded, found, strict=True)
        pairs = [(f"{place}[{index}]", *pair) for index, pair in enumerate(both)]
    else:
        return None if recorded == found else f"{place} was {recorded!r}, now it is {found!r}"
    for at, one, other in pairs:
        text = difference(one, other, at.removeprefix("."), only_shared)
        if text:
            return text
    return None


def _graph(model):
    """Returns a plain model of the graph of layers, the same for a Sequential and a subclass."""
    try:
        return keras.Model(model.inputs, model.outputs, name=model.name)
    except (AttributeError, TypeError, ValueError):
        return model


def _compared(value, places=None):
    """Returns a configuration without what does not matter, with layers by their places."""
    if isinstance(value, dict):
        places = _places(value) or places or {}
        if _is_policy(value):
            # Its name says in which dtypes is computed.
            return {"class_name": value["class_name"], "config": value["config"]}
        return {
            str(key): _compared(item, places)
            for key, item in value.items()
            if not _is_ignored(key, item, value)
        }
    if isinstance(value, (list, tuple)):
        if len(value) == 3 and isinstance(value[0], str) and value[0] in (places or {}):
            return [places[value[0]], *value[1:]]
        return [_compared(item, places) for item in value]
    is_plain = value is None or isinstance(value, (str, bool, int, float))
    return value if is_plain else type(value).__name__


def _is_policy(config):
    return str(config.get("class_name")).endswith("DTypePolicy") and "config" in config


def _places(config):
    layers = config.get("layers")
    if not isinstance(layers, list):
        return None
    named = [layer for layer in layers if isinstance(layer, dict) and "name" in layer]
    return {layer["name"]: place for place, layer in enumerate(named)}


def _is_ignored(key, item, config):
    is_rate = key == "learning_rate" and isinstance(item, numbers.Real)
    is_tensor_shape = key == "shape" and "keras_history" in config
    return key in IGNORED or str(key).endswith("_initializer") or is_rate or is_tensor_shape


def _by_output(value, names, function):
    """Returns `function` of what each output has: one value, or a list in the outputs' order."""
    if isinstance(value, dict) and set(value) <= set(names):
        value = [value.get(name) for name in names]
    if isinstance(value, (list, tuple)):
        found = [_by_output(item, names, function) for item in value]
        return found[0] if len(found) == 1 else found
    if isinstance(value, dict):
        return {key: _by_output(item, names, function) for key, item in value.items()}
    return None if value is None else function(value)


def _loss(loss):
    try:
        loss = keras.losses.get(loss)
    except ValueError:  # A name that Keras resolves by the shapes of a batch: "crossentropy".
        return {"function": str(loss)}
    if not isinstance(loss, keras.Loss):
        return _of_function(loss, {}, "sum_over_batch_size")
    # Keras leaves out options of some losses, such as Huber's delta, from their configuration.
    options = (_or_none(loss.get_config) or {}) | getattr(loss, "_fn_kwargs", {})
    function, config = convexity.function_of(loss), _compared(options)
    if function is None:
        return {"class": type(loss).__name__, "options": config}
    return _of_function(function, config, loss.reduction)


def _of_function(function, config, reduction):
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    own = {key: value for key, value in config.items() if key not in ("dtype", "fn", "reduction")}
    same = {None: "none", "mean": "sum_over_batch_size"}
    return {
        "function": getattr(function, "__name__", type(function).__name__),
        "options": _compared(defaults) | own,
        "reduction": same.get(reduction, reduction),
    }


def _loss_weights(model):
    config = _or_none(model.get_compile_config)
    return config and config.get("loss_weights")


def _or_none(make):
    """Returns `make()`, or `None` where Keras cannot serialise what it takes."""
    with warnings.catch_warnings():
        # Keras warns of functions without a name, which are compared by what they compute.
        warnings.simplefilter("ignore")
        try:
            return make()
        except (AttributeError, NotImplementedError, TypeError, ValueError):
            return None
