"""The networks of the tasks.

Kernels before a rectifier are he_normal. Linear outputs have Keras' default, glorot_uniform: with
he_normal there, plain SGD at 0.01 diverges on the MNIST autoencoder within a few rounds.
"""

import keras

RECTIFIER_KERNEL = "he_normal"


def autoencoder(pixels, encoder, code):
    """A symmetric dense autoencoder: ReLU throughout, linear output.

    Args:
        pixels: Width of input and output.
        encoder: Widths of the hidden layers before the code; mirrored after it.
        code: Width of the code layer.

    Returns:
        A `keras.Model` from `(batch, pixels)` to `(batch, pixels)`.
    """
    layers = [_relu(width, f"encoder_{width}") for width in encoder]
    layers += [_relu(code, f"code_{code}")]
    layers += [_relu(width, f"decoder_{width}") for width in reversed(encoder)]
    layers += [keras.layers.Dense(pixels, name="pixels")]
    return _chain((pixels,), layers, "autoencoder")


def dense_classifier(pixels, hidden, classes):
    """A dense ReLU network from `(batch, pixels)` to logits `(batch, classes)`."""
    layers = [_relu(width, f"hidden_{index}") for index, width in enumerate(hidden, start=1)]
    return _chain((pixels,), [*layers, _logits(classes)], "classifier")


def convolutional_classifier(shape, filters, dense, classes):
    """Blocks of 5x5 convolution, ReLU and 2x2 max-pooling, then a dense ReLU layer and logits.

    Args:
        shape: Shape of an image, `(height, width, channels)`.
        filters: Number of filters in each block. Padding keeps the size, pooling halves it.
        dense: Width of the dense layer.
        classes: Number of logits.

    Returns:
        A `keras.Model` from `(batch, *shape)` to logits `(batch, classes)`.
    """
    layers = []
    for index, count in enumerate(filters, start=1):
        layers += [
            _convolution(count, f"conv_{index}"),
            keras.layers.MaxPooling2D(name=f"pool_{index}"),
        ]
    layers += [
        keras.layers.Flatten(name="flatten"),
        _relu(dense, f"dense_{dense}"),
        _logits(classes),
    ]
    return _chain(shape, layers, "convnet")


def _chain(shape, layers, name):
    """Returns a functional model, in which a layer's key is its name alone."""
    inputs = outputs = keras.Input(shape)
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs, name=name)


def _relu(width, name):
    return keras.layers.Dense(
        width, activation="relu", kernel_initializer=RECTIFIER_KERNEL, name=name
    )


def _convolution(filters, name):
    return keras.layers.Conv2D(
        filters,
        5,
        padding="same",
        activation="relu",
        kernel_initializer=RECTIFIER_KERNEL,
        name=name,
    )


def _logits(classes):
    return keras.layers.Dense(classes, name="logits")
