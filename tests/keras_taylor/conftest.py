"""Shared by the tests of the package."""

import keras
import pytest


@pytest.fixture
def float64():
    """Lets models and losses compute in float64."""
    for dtype in ("float64", "float32"):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        if dtype == "float64":
            yield
