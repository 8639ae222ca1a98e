"""Losses of the tasks that Keras does not have."""

import keras


@keras.saving.register_keras_serializable(package="keras_taylor_experiments")
class SummedSquaredError(keras.losses.Loss):
    """Squared error **summed** over the outputs of an example, then averaged over the batch.

    `l(y, f) = mean over the batch of sum_i (f_i - y_i)^2`, for outputs of shape
    `(batch, outputs)`. It is `outputs` times Keras' mean squared error, so that rates of about
    0.01 suit plain SGD on images.

    Example:

    >>> float(SummedSquaredError()([[0.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [0.0, 1.0]]))
    3.0
    """

    convex_in_output = quadratic_in_output = True

    def __init__(self, reduction="sum_over_batch_size", name="summed_squared_error", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        y_pred = keras.ops.convert_to_tensor(y_pred)
        y_true = keras.ops.cast(y_true, y_pred.dtype)
        return keras.ops.sum(keras.ops.square(y_pred - y_true), axis=-1)
