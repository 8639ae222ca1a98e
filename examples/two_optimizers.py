"""Two optimizers compared: which left more on the table, and whose step fits?

    python examples/two_optimizers.py

The last lines are one cell of a notebook; there, a diagnosis alone at the end of a cell shows as a
table. Takes about ten seconds.
"""

import keras
from sklearn.datasets import load_digits

import keras_taylor as kt


def make_model():
    """Returns a classifier of digits with one hidden layer."""
    inputs = keras.Input((64,))
    hidden = keras.layers.Dense(32, activation="relu", name="hidden")(inputs)
    return keras.Model(inputs, keras.layers.Dense(10, name="logits")(hidden))


def train(optimizer, x, y, epochs, batch_size):
    """Trains a new model from the same weights and batches; returns its tracker."""
    keras.utils.set_random_seed(0)
    model = make_model()
    tracker = kt.optimizers.RegretTracker(optimizer)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tracker, loss=loss)
    model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0)
    return tracker


def main(examples=None, epochs=5, batch_size=32):
    """Prints a row for each optimizer; returns their trackers."""
    x, y = load_digits(return_X_y=True)
    x, y = x[:examples] / 16, y[:examples]
    optimizers = {"SGD": keras.optimizers.SGD(0.01), "Adam": keras.optimizers.Adam(0.003)}
    trackers = {}
    for name, optimizer in optimizers.items():
        tracker = trackers[name] = train(optimizer, x, y, epochs, batch_size)
        regret = float(tracker.linear_regret()) / int(tracker.steps)
        print(
            f"{name:5} average loss {float(tracker.average_loss):.3f}, linear regret {regret:.3f}, "
            f"optimum at least {float(tracker.optimum_lower_bound()):.3f}: "
            f"{kt.diagnose(tracker).network['advice']}"
        )
    return trackers


if __name__ == "__main__":
    main()
