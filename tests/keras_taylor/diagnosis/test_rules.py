"""Tests of the rules of a diagnosis."""

import math

import pytest

from keras_taylor.diagnosis import rules

ENOUGH = rules.MINIMUM_ROUNDS


def _reading(**changes):
    usual = {"is_layer": False, "rounds": ENOUGH, "skipped": 0, "has_moved": True}
    agreement = changes.get("agreement", 1.0)
    return rules.Reading(**usual | {"agreement": agreement, "network_agreement": 1.0} | changes)


def _dead(network, deadest_layer):
    return {"network_dead_share": network, "deadest_layer": deadest_layer}


@pytest.mark.parametrize(
    ("changes", "verdict", "factor"),
    [
        ({}, "fits", 1.0),
        ({"agreement": 1.5}, "fits", 1.0),
        ({"agreement": 2.0}, "raise", 2**1.25),
        ({"agreement": 50.0}, "raise", 10.0),
        ({"agreement": 0.6}, "lower", 1 / 3),
        ({"step_ratio": 0.8}, "lower", 1 / 3),
        ({"step_ratio": 0.7}, "lower", 0.1),
        ({"step_ratio": 0.9}, "fits", 1.0),
        ({"skipped": 2 * ENOUGH, "agreement": 9.0}, "diverged", 0.1),
        ({"skipped": 1}, "fits", 1.0),
        ({"rounds": 0, "agreement": math.nan, "has_moved": False}, "no rounds", None),
        ({"rounds": ENOUGH - 1, "agreement": 9.0}, "too few rounds", None),
        ({"has_moved": False}, "still", None),
        ({"agreement": math.nan}, "still", None),
        ({"agreement": 5.0, "signs_only": True}, "cannot tell", None),
        ({**_dead(0.6, 0.95), "step_ratio": 0.3}, "dead", None),
        ({**_dead(0.6, 0.95), "rounds": ENOUGH - 1}, "dead", None),
        (_dead(0.6, 0.8), "fits", 1.0),
        (_dead(0.1, 1.0), "fits", 1.0),
        ({"is_layer": True, "dead_share": 1.0, "has_moved": False}, "dead", None),
        ({"is_layer": True, "dead_share": 0.8, **_dead(0.1, 1.0)}, "fits", 1.0),
        ({"is_layer": True, "dead_share": 0.8, **_dead(0.6, 1.0)}, "of a dead network", None),
        ({"is_layer": True, "agreement": 4.0}, "lags", 4**1.25),
        ({"is_layer": True, "agreement": 4.0, "network_agreement": 2.0}, "raise", 4**1.25),
        ({"is_layer": True, "agreement": 2.9, "network_agreement": 0.7}, "fits", 1.0),
    ],
    ids=str,
)
def test_the_first_rule_that_holds_speaks(changes, verdict, factor):
    found, found_factor, _ = rules.judge(_reading(**changes))
    assert found == verdict
    assert math.isnan(found_factor) if factor is None else found_factor == pytest.approx(factor)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"agreement": 3.0}, "raise the rate about 4 times"),
        ({"agreement": 1.7}, "raise the rate about 2 times"),
        ({"agreement": 0.5}, "lower the rate about 3 times"),
        ({"rounds": 37}, "too few rounds to tell: 37 of the 100 that would do"),
    ],
    ids=str,
)
def test_sentences_tell_how_much(changes, sentence):
    assert rules.judge(_reading(**changes))[2] == sentence


def test_every_rule_has_a_reason_and_sentences():
    assert all(rule.reason for rule in rules.RULES)
    assert all(rule.of_layer for rule in rules.RULES)
    assert [rule.verdict for rule in rules.RULES if not rule.of_network] == [
        "of a dead network",
        "lags",
    ]
    assert len({rule.verdict for rule in rules.RULES}) == len(rules.RULES)


def test_a_larger_agreement_never_asks_for_less():
    factors = [rules.judge(_reading(agreement=q / 20))[1] for q in range(1, 200)]
    assert factors == sorted(factors)
