"""Networks for the tests of activation configurations: one small enough to count, one not."""

import keras
import numpy as np

from keras_taylor.exploration import Probe

PROBE = np.array([[1.0], [-1.0], [2.0]])


def small_model(weights=(1.0, -1.0, 0.5), biases=(0.0, 0.0, -0.75)):
    """Three rectifiers of one input."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3, "relu", name="hidden")])
    model.set_weights([np.array([weights]), np.array(biases)])
    return model


def snapshot_of(**options):
    """The snapshot of the small model with other weights or biases."""
    return Probe(small_model(**options), PROBE).snapshot()


def convnet(policy="float32"):
    """Rectifiers with two kinks, pooling windows and rectifiers with one."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((7, 9, 2))
    x = keras.layers.Conv2D(3, 2, activation="relu6", name="conv", dtype=policy)(inputs)
    x = keras.layers.MaxPooling2D(2, name="pool", dtype=policy)(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(5, "relu", name="dense", dtype=policy)(x))
