"""Tests of measuring one network's gradients."""

import numpy as np
import pytest

from experiments.runs import shattering


@pytest.fixture(scope="module")
def measured():
    x = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    return shattering.measure("linear", 2, 0, x, width=5, lines=3, points=8)


def test_shapes_are_those_of_lines_outputs_lags_and_distances(measured):
    curves = 3 * shattering.OUTPUTS
    assert np.shape(measured["autocorrelation"]) == (curves, 4)
    assert len(measured["half_widths"]) == curves
    np.testing.assert_allclose(measured["lags"], np.arange(4) / 7)
    for key in ("input_correlation", "weight_correlation"):
        assert np.shape(measured[key]) == np.shape(measured["distances"])
    assert all(np.shape(curve) == (4,) for curve in measured["by_layer"].values())


def test_the_gradient_of_a_linear_network_is_the_same_everywhere(measured):
    np.testing.assert_allclose(measured["autocorrelation"], 1.0, rtol=1e-5)
    np.testing.assert_allclose(measured["input_correlation"], 1.0, rtol=1e-5)
    assert not np.isfinite(measured["half_widths"]).any()


def test_what_was_measured_is_said(measured):
    assert (measured["kind"], measured["depth"], measured["seed"]) == ("linear", 2, 0)
