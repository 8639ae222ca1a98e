"""Prints the figures that the tests of trust found, after all other output."""

import os

import pytest

# The part of all flips and kills that is tried, for a quick look.
SHARE = float(os.environ.get("TRUST_SHARE", "1"))


@pytest.fixture
def count():
    """Returns a number of trials, scaled by the environment variable TRUST_SHARE."""
    return lambda number: max(1, round(number * SHARE))


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("trust")
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            found = ", ".join(f"{name}: {value}" for name, value in report.user_properties)
            if found:
                terminalreporter.write_line(
                    f"{report.nodeid.partition('::')[2]} ({outcome}) {found}"
                )
