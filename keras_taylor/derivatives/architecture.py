"""What two models have to share so that what was checked of one need not be checked of the other.

A search over rates and seeds builds the same model again and again. Where all of it is Keras' own,
its configuration says what it computes.
"""

import hashlib
import json

import keras

from keras_taylor.derivatives import layer_checks

# Where a configuration has the names of layers, which differ between two builds of one model.
NAMED = {"name", "keras_history", "input_layers", "output_layers"}


def architecture(model):
    """Returns a text that is equal for models that compute the same of equal weights and inputs.

    Names and initializers do not count.

    Args:
        model: A built model.

    Returns:
        The text, or `None` where the configuration does not say it all: for layers, functions or a
        `call` of one's own.
    """
    if not isinstance(model, keras.Model) or not all(map(_is_known, _inside(model))):
        return None
    try:
        # Not `model.get_config()`, which a class of one's own may have.
        config = keras.Model(model.inputs, model.outputs, name=model.name).get_config()
    except (AttributeError, TypeError, ValueError):
        return None
    text = json.dumps(_without_names(config, {}), sort_keys=True, default=repr)
    trainable = [variable.trainable for variable in model.variables]
    return hashlib.sha256(f"{text} {trainable}".encode()).hexdigest()


def _inside(model):
    return [*model._flatten_layers(), *layer_checks.operations(model)]


def _is_known(layer):
    if "call" in vars(layer):
        return False
    if isinstance(layer, keras.Model):
        return layer_checks.is_keras(type(layer).call)
    return layer_checks.is_of_keras(layer)


def _without_names(config, numbers, is_name=False):
    """Returns a configuration with the number of its first occurrence in place of each name."""
    if isinstance(config, dict):
        return {
            key: _without_names(value, numbers, is_name=key in NAMED)
            for key, value in config.items()
            if not key.endswith("_initializer")
        }
    if isinstance(config, (list, tuple)):
        return [_without_names(value, numbers, is_name) for value in config]
    if is_name and isinstance(config, str):
        return numbers.setdefault(config, len(numbers))
    return config
