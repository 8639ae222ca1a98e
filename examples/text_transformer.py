"""A small transformer that predicts the next character of a text, diagnosed layer by layer.

    python examples/text_transformer.py

The text is the source code of a module of Python, so that nothing has to be downloaded. The
learning rate warms up and decays: the advice is for its peak, and says so. About a minute.
"""

import inspect
import textwrap

import keras
import numpy as np
from keras import layers

import keras_taylor as kt

LENGTH, WIDTH, HEADS = 32, 32, 4


def load():
    """Returns windows of character numbers `(windows, 32)`, the same one later, the alphabet."""
    text = inspect.getsource(textwrap)
    alphabet = sorted(set(text))
    numbers = np.array([alphabet.index(character) for character in text])
    windows = np.lib.stride_tricks.sliding_window_view(numbers, LENGTH + 1)[::4]
    return windows[:, :-1], windows[:, 1:], alphabet


class Positions(layers.Layer):
    """Adds a learned vector for each position."""

    def build(self, input_shape):
        self.vectors = self.add_weight(shape=input_shape[1:], name="vectors")

    def call(self, inputs):
        return inputs + self.vectors


def make_model(characters):
    """Returns a transformer of one block; its outputs are scores `(batch, 32, characters)`."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(characters, WIDTH, name="embedding")(inputs)
    x = Positions(name="positions")(x)
    normed = layers.LayerNormalization(name="norm_1")(x)
    attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name="attention")
    x = x + attention(normed, normed, use_causal_mask=True)
    hidden = layers.LayerNormalization(name="norm_2")(x)
    hidden = layers.Dense(4 * WIDTH, activation="relu", name="expand")(hidden)
    x = x + layers.Dense(WIDTH, name="contract")(hidden)
    return keras.Model(inputs, layers.Dense(characters, name="logits")(x))


def main(examples=None, epochs=3, batch_size=32):
    """Trains with a warm-up and a decay; returns the diagnosis."""
    keras.utils.set_random_seed(0)
    x, y, alphabet = load()
    x, y = x[:examples], y[:examples]
    steps = epochs * -(-len(x) // batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=1e-3, warmup_steps=steps // 10
    )
    model = make_model(len(alphabet))
    optimizer = kt.optimizers.RegretTracker(keras.optimizers.Adam(schedule))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss)
    advisor = kt.callbacks.Diagnose()
    options = {"batch_size": batch_size, "epochs": epochs, "verbose": 0}
    model.fit(x, y, callbacks=[advisor], **options)
    return advisor.latest


if __name__ == "__main__":
    main()
