"""Tests of functions whose questions are answered together."""

import pytest

from keras_taylor.optimum.rendezvous import Rendezvous


def _asking(meeting, questions):
    return lambda: [meeting.ask(question) for question in questions]


def test_questions_are_answered_together_until_all_have_ended():
    served = []

    def serve(questions):
        served.append(sorted(questions))
        return [10 * question for question in questions]

    meeting, ended = Rendezvous(serve), []
    functions = [_asking(meeting, of) for of in ([1, 2, 3], [4], [], [5, 6])]
    found = meeting.run(functions, lambda: ended.append(len(served)))
    assert found == [[10, 20, 30], [40], [], [50, 60]]
    assert served == [[1, 4, 5], [2, 6], [3]]
    assert len(ended) == 4
    assert meeting.run([]) == []


@pytest.mark.parametrize("error", [ValueError("damaged"), KeyboardInterrupt()])
def test_what_goes_wrong_is_raised_in_each_function(error):
    def serve(questions):
        raise error

    meeting, seen = Rendezvous(serve), []

    def function():
        try:
            meeting.ask(1)
        except type(error) as found:
            seen.append(found)
        return "went on"

    assert meeting.run([function, function]) == ["went on", "went on"]
    assert seen == [error, error]


def test_an_error_of_one_function_is_that_of_all():
    meeting = Rendezvous(lambda questions: questions)

    def fail():
        meeting.ask(1)
        raise ValueError("no further")

    with pytest.raises(ValueError, match="no further"):
        meeting.run([fail, _asking(meeting, [1, 2, 3])])
