"""A `train_step` of one's own: regret and advice where `fit` does not compute the gradients.

    python examples/custom_train_step.py

The step adds a penalty on the gradient with respect to the input. `optimizer.scale_loss` hands the
loss to the tracker; without it linear regret and the advice are the same, but `average_loss` and
`optimum_lower_bound` are NaN. About ten seconds.
"""

import keras
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_taylor as kt


class SmoothClassifier(keras.Model):
    """Trains with the squared norm of the loss's gradient in the input as a penalty."""

    penalty = 0.1

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            slopes = inner.gradient(loss, x)
            total = loss + self.penalty * tf.reduce_sum(slopes**2)
            scaled = self.optimizer.scale_loss(total)
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss, "penalised_loss": total}


def make_model():
    """Returns a classifier of digits with one hidden layer."""
    inputs = keras.Input((64,))
    hidden = keras.layers.Dense(32, activation="relu", name="hidden")(inputs)
    return SmoothClassifier(inputs, keras.layers.Dense(10, name="logits")(hidden))


def main(examples=None, epochs=5, batch_size=32):
    """Trains the model; returns its tracker and the diagnosis."""
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = x[:examples].astype("float32") / 16, y[:examples]
    model = make_model()
    tracker = kt.optimizers.RegretTracker(keras.optimizers.SGD(0.1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tracker, loss=loss)
    model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0)
    print(f"average loss {float(tracker.average_loss):.3f}, no comparator within reach has less")
    print(f"than {float(tracker.optimum_lower_bound()):.3f} on average\n")
    found = kt.diagnose(tracker)
    print(found)
    return tracker, found


if __name__ == "__main__":
    main()
