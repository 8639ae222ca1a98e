"""Tests of what is known of losses as functions of the output."""

import keras
import pytest
from keras import losses

from keras_taylor.taylor import convexity
from keras_taylor.taylor.convexity import is_convex


def test_known_to_be_convex():
    assert is_convex(losses.Poisson())
    assert is_convex(losses.CategoricalHinge())
    assert not is_convex(losses.CosineSimilarity())
    assert not is_convex(losses.CategoricalFocalCrossentropy())
    mine = losses.CosineSimilarity()
    mine.convex_in_output = True
    assert is_convex(mine)


@pytest.mark.parametrize(
    ("loss", "is_quadratic", "is_kinked"),
    [
        (losses.MeanSquaredError(), True, False),
        (losses.MeanAbsoluteError(), False, True),
        (losses.CategoricalHinge(), False, True),
        (losses.Huber(), False, False),
        (losses.CategoricalCrossentropy(), False, False),
    ],
)
def test_known_to_be_quadratic_or_kinked(loss, is_quadratic, is_kinked):
    assert convexity.is_quadratic(loss) == is_quadratic
    assert convexity.is_kinked(loss) == is_kinked


def test_cross_entropies_take_probabilities_unless_they_say_otherwise():
    assert convexity.takes_probabilities(losses.BinaryCrossentropy())
    assert not convexity.takes_probabilities(losses.BinaryCrossentropy(from_logits=True))
    assert not convexity.takes_probabilities(losses.MeanSquaredError())


def test_another_loss_of_the_same_name_gets_a_warning_too():
    class Sine(losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.sin(y_pred)

    class Cosine(Sine):
        pass

    for kind in (Sine, Cosine):
        with pytest.warns(UserWarning, match="'wave' is not known to be convex"):
            convexity.warn_unless_convex(kind(name="wave"))
