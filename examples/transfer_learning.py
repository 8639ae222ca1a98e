"""Transfer learning: a frozen backbone of keras.applications, and a new head that is diagnosed.

    python examples/transfer_learning.py

Frozen layers have no gradients: neither regret nor advice counts them. After the head is trained,
the last block of the backbone is unfrozen, and the model compiled again with a new tracker. The
first run downloads the weights of MobileNetV2; `main(weights=None)` does without them.
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_taylor as kt

SIZE = 32


def load(examples):
    """Returns digits as colour images `(examples, 32, 32, 3)` in [-1, 1], and their labels."""
    x, y = load_digits(return_X_y=True)
    images = x[:examples].reshape(-1, 8, 8, 1) / 8 - 1
    return np.tile(images.repeat(4, 1).repeat(4, 2), (1, 1, 1, 3)).astype("float32"), y[:examples]


def make_model(weights):
    """Returns a classifier on a frozen backbone, and the backbone."""
    backbone = keras.applications.MobileNetV2(
        (SIZE, SIZE, 3), alpha=0.35, include_top=False, weights=weights, pooling="avg"
    )
    backbone.trainable = False
    inputs = keras.Input((SIZE, SIZE, 3))
    # In inference mode, so that batch normalisation keeps the statistics it came with.
    features = backbone(inputs, training=False)
    return keras.Model(inputs, keras.layers.Dense(10, name="head")(features)), backbone


def fit(model, x, y, learning_rate, epochs, batch_size):
    """Compiles and trains the model; returns the diagnosis of this stage."""
    optimizer = kt.optimizers.RegretTracker(keras.optimizers.Adam(learning_rate))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss)
    model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0)
    return kt.diagnose(model)


def main(weights="imagenet", examples=1797, epochs=3, batch_size=32):
    """Trains the head, then the head and the last block; returns both diagnoses."""
    keras.utils.set_random_seed(0)
    x, y = load(examples)
    model, backbone = make_model(weights)
    head = fit(model, x, y, 1e-3, epochs, batch_size)
    print(f"The head alone:\n{head}\n")
    backbone.trainable = True
    for layer in backbone.layers:
        layer.trainable = layer.name in ("Conv_1", "block_16_project")
    both = fit(model, x, y, 1e-4, epochs, batch_size)
    print(f"The head and the last convolutions:\n{both}")
    return head, both


if __name__ == "__main__":
    main()
