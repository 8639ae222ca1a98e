"""Layers that are refused by what they are, before any number is computed."""

import keras

from keras_taylor.derivatives.forward_mode import leaf_layers


def refuse_stateful(model):
    """Raises a ValueError if a recurrent layer starts a batch from the state of the last one.

    Keras has such a state in none of a model's lists of variables.
    """
    recurrent = [each for each in model._flatten_layers() if isinstance(each, keras.layers.RNN)]
    names = [layer.name for layer in recurrent if layer.stateful]
    if names:
        raise ValueError(
            f"layer {_quoted(names)} of model {model.name!r} is stateful: it starts each batch "
            "from the state that the last batch left, which Keras keeps outside of "
            "`model.variables`, so the loss of a round cannot be computed again from its weights "
            "and its batch. Build the layer with stateful=False; its weights are the same"
        )


def refuse_overwritten(model):
    """Raises a ValueError if a layer has weights whose gradient is their next value (float8)."""
    names = [layer.name for layer in leaf_layers(model) if any(map(_is_overwritten, layer.weights))]
    if names:
        raise ValueError(
            f"layer {_quoted(names)} of model {model.name!r} has no Jacobian to expand with: the "
            "gradient of some of its weights is their next value (`overwrite_with_gradient`, the "
            "scales of float8), and float8 also rounds the gradients that flow through the layer. "
            "Use the layer without float8, for example with the dtype policy 'mixed_bfloat16'"
        )


def _is_overwritten(variable):
    return getattr(variable, "overwrite_with_gradient", False)


def _quoted(names):
    return ", ".join(map(repr, names))
