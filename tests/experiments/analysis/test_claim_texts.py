"""Tests of the texts of the claims: that each claim has one, and that they say what is computed."""

from experiments.analysis import claim_texts, claims, estimates


def test_each_claim_says_how_it_is_decided():
    assert list(claim_texts.HOW_DECIDED) == ["A claim", *claim_texts.CLAIMS]


def test_confidence_of_the_texts_is_that_of_the_intervals():
    percent = f"{estimates.CONFIDENCE * 100:.0f} %"
    for claim in claim_texts.CLAIMS:
        text = claim_texts.HOW_DECIDED[claim]
        assert percent in text or "certified intervals" in text


def test_the_table_of_claims_has_their_texts():
    _, rows = claims.table([])
    assert [row[:2] for row in rows] == [tuple(item) for item in claim_texts.CLAIMS.items()]
