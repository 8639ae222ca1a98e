"""Tests of how numbers and intervals are written."""

import math

import pytest

from experiments.analysis import cells


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.nan, "–"), (0.000123456, "0.0001235"), (1234.5678, "1235"), (0.0, "0")],
)
def test_numbers_have_four_digits_and_missing_ones_are_a_dash(value, text):
    assert cells.number(value) == text


def test_interval_with_ends_that_are_written_alike_is_one_number():
    assert cells.interval(1.0001, 1.0002) == "1"
    assert cells.interval(1.001, 1.02) == "1…1.02"


def test_slope_has_its_standard_error():
    assert cells.slope({"slope": 0.712, "standard_error": 0.021}) == "0.71 ± 0.02"
    assert cells.slope({"slope": None, "standard_error": None}) == cells.MISSING


@pytest.mark.parametrize(
    ("value", "lower", "upper", "text"),
    [
        (0.71, 0.65, 0.78, "0.71 (0.65…0.78)"),
        (0.71, None, None, "0.71"),
        (0.71, math.nan, math.nan, "0.71"),
        (None, None, None, "–"),
        (math.inf, 1.0, 2.0, "–"),
    ],
)
def test_estimates_have_their_interval_if_there_is_one(value, lower, upper, text):
    assert cells.estimate({"value": value, "lower": lower, "upper": upper}) == text


def test_rates_have_two_decimals():
    assert cells.rate({"slope": 0.5, "lower": 0.4, "upper": 0.6}) == "0.50 (0.40…0.60)"
    assert cells.rate({"slope": 0.5, "lower": None, "upper": None}) == "0.50"
    assert cells.rate({"slope": None}) == cells.rate(None) == cells.MISSING
