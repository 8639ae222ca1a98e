"""The loss of a round once more from what is stored: it has to be what training computed."""

import keras
import numpy as np

from keras_taylor.taylor.batch import batch_of, output_loss_at

TOLERANCE = 1e-3


def check_reduced(loss):
    """Raises a ValueError if a loss, as `compile` takes it, is none of a batch but of examples."""
    for one in keras.tree.flatten(loss):
        if isinstance(one, keras.Loss) and one.reduction in (None, "none"):
            raise ValueError(
                f"loss {one.name!r} has reduction {one.reduction!r}: a round then has no loss but "
                "one for each example, whose sum is trained on and whose mean is logged. Give it a "
                "reduction, such as 'sum' or 'sum_over_batch_size'"
            )


def batch_of_round(model, fields, loss=None):
    """Returns the `keras_taylor.taylor.batch.Batch` of a round.

    Args:
        model: The model.
        fields: The fields of the round by name, as in `keras_taylor.trajectory.trajectory.Round`.
        loss: As of `keras_taylor.taylor.batch.batch_of`.
    """
    return batch_of(
        model,
        fields["x"],
        fields["y"],
        fields["sample_weight"],
        loss,
        weights=[keras.ops.convert_to_tensor(w) for w in fields["weights"]],
        state=[keras.ops.convert_to_tensor(w) for w in fields["non_trainable_weights"]],
    )


def replayed_loss(batch, expanded):
    """Returns the training loss of a batch, penalties included, a number.

    Args:
        batch: The batch.
        expanded: The model on it, from `keras_taylor.taylor.batch.expand`.
    """
    loss = output_loss_at(batch, expanded, expanded.points)
    return float(loss if expanded.penalty is None else loss + expanded.penalty)


def agree(replayed, recorded, tolerance=TOLERANCE):
    """Tells whether two losses of a round are the same up to rounding; so are two that are NaN."""
    # If training has diverged, both losses are NaN.
    return bool(np.isclose(replayed, recorded, tolerance, tolerance / 1000, equal_nan=True))
