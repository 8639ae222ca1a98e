"""An image classifier from scratch, and what its run says about the learning rate.

    python examples/image_classifier.py

Trains a small convnet on scikit-learn's digits at a rate that is too small, prints the diagnosis,
and trains again at the rate that it suggests. Takes about twenty seconds and no download.
"""

import keras
from sklearn.datasets import load_digits

import keras_taylor as kt


def load():
    """Returns images `(1797, 8, 8, 1)` with pixels in [0, 1], and their labels."""
    x, y = load_digits(return_X_y=True)
    return x.reshape(-1, 8, 8, 1).astype("float32") / 16, y


def make_model():
    """Returns a convnet with two convolutions; `logits` has the scores of ten classes."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu", name="conv_1"),
            keras.layers.Conv2D(32, 3, activation="relu", name="conv_2"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, name="logits"),
        ],
        name="convnet",
    )


def train(x, y, learning_rate, epochs, batch_size=32):
    """Trains a new model; returns its last training loss and the diagnosis of the run."""
    keras.utils.set_random_seed(0)
    model = make_model()
    optimizer = kt.optimizers.RegretTracker(keras.optimizers.Adam(learning_rate))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss)
    history = model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0)
    return history.history["loss"][-1], kt.diagnose(model)


def main(examples=None, epochs=10, batch_size=32):
    """Trains at a rate and at the one suggested; returns both losses and diagnoses."""
    x, y = load()
    x, y = x[:examples], y[:examples]
    first_loss, first = train(x, y, 1e-4, epochs, batch_size)
    print(f"learning rate 0.0001: loss {first_loss:.3f}\n{first}\n")
    rate = first.network["suggested_rate"]
    second_loss, second = train(x, y, rate, epochs, batch_size)
    print(f"learning rate {rate}: loss {second_loss:.3f}\n{second}")
    return (first_loss, first), (second_loss, second)


if __name__ == "__main__":
    main()
