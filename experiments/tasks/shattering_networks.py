"""Deep networks at initialisation, to compare their gradients: one builder for each kind."""

import keras
import numpy as np


def _plain(activation, initializer, normalize=False):
    def layer(x, width):
        x = keras.layers.Dense(width, kernel_initializer=initializer)(x)
        if normalize:
            # No momentum: the statistics become those of the batch on which it is calibrated.
            x = keras.layers.BatchNormalization(momentum=0.0)(x)
        return x if activation is None else keras.layers.Activation(activation)(x)

    return layer


def _residual(x, width):
    branch = keras.layers.Activation("relu")(x)
    branch = keras.layers.Dense(width, kernel_initializer="he_normal")(branch)
    # Half of the variance from each branch; otherwise it doubles with each block.
    scaled = keras.layers.Rescaling(0.5**0.5)(branch)
    return keras.layers.Add()([keras.layers.Rescaling(0.5**0.5)(x), scaled])


KINDS = {
    "linear": _plain(None, "lecun_normal"),
    "tanh": _plain("tanh", "lecun_normal"),
    "relu": _plain("relu", "he_normal"),
    "residual relu": _residual,
    "batch-normalised relu": _plain("relu", "he_normal", normalize=True),
}


def build(kind, depth, width, inputs, outputs, seed):
    """Returns a network `(batch, inputs) -> (batch, outputs)` at initialisation.

    Args:
        kind: One of `KINDS`.
        depth: Hidden layers (blocks, for residual networks).
        width: Units of each.
        inputs: Size of the input.
        outputs: Number of outputs.
        seed: Seed of the weights.
    """
    keras.utils.set_random_seed(seed)
    entry = x = keras.Input((inputs,))
    if kind == "residual relu":
        x = keras.layers.Dense(width, kernel_initializer="lecun_normal", name="stem")(x)
    for _ in range(depth):
        x = KINDS[kind](x, width)
    return keras.Model(entry, keras.layers.Dense(outputs, name="outputs")(x), name="network")


def calibrate(model, x):
    """Lets BatchNormalization take the statistics of some inputs, for inference."""
    model(np.asarray(x, "float32"), training=True)
