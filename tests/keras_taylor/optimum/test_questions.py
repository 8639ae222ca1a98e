"""Tests of the objective of a unit that asks for passes."""

import types

import keras
import numpy as np
import pytest

from keras_taylor.optimum.questions import CURVATURE, LOSSES, VALUE, AskingObjective
from keras_taylor.weights.parts import Part
from keras_taylor.weights.scopes import Scopes


class Rounds:
    """Ten rounds of a model that has a copy in float64."""

    model, wide_model = "model", "copy"
    loss = types.SimpleNamespace(is_quadratic=True)

    def __len__(self):
        return 10


@pytest.fixture
def asked():
    """An objective, and the questions that it asks."""
    layer = keras.layers.Dense(3, name="a")
    model = keras.Sequential([keras.Input((4,)), layer], name="net")
    part, questions = Part(Scopes(model.trainable_variables), "unit:net/a/2"), []

    def answer(question):
        questions.append(question)
        return len(questions)

    return AskingObjective(Rounds(), part, answer), questions


def test_questions_say_what_is_asked(asked):
    objective, questions = asked
    point, vector = np.arange(5.0), np.ones(5)
    answers = [
        objective.value_and_gradient(point),
        objective.over_first(4).curvature_product(point, vector),
        objective.losses(point, check=True),
    ]
    assert answers == [1, 2, 3]
    value, curvature, losses = questions
    assert value.of_pass == (VALUE, True, 10, False)
    assert curvature.of_pass == (CURVATURE, False, 4, False)
    assert losses.of_pass == (LOSSES, True, 10, True)
    assert [question.unit for question in questions] == [2, 2, 2]
    assert curvature.vector is vector


def test_curvature_is_in_float64_once_sharpened(asked):
    objective, questions = asked
    precise = objective.sharpened()
    precise.curvature_product(np.zeros(5), np.ones(5))
    objective.curvature_product(np.zeros(5), np.ones(5))
    assert [question.wide for question in questions] == [True, False]
    assert precise.sharpened() is None
