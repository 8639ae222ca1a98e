"""Lists the bounds that setup.py declares and the versions here; fails where they are not equal.

A bound that nothing can be installed at is one that no test has seen.
"""

import sys
from importlib import metadata

from packaging.requirements import Requirement
from packaging.version import Version

EXTRAS = ("", "cpu", "experiments", "test")


def main():
    """Returns the number of bounds that are not the version installed."""
    missed = 0
    for requirement in map(Requirement, metadata.requires("keras-taylor")):
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in EXTRAS):
            continue
        (bound,) = requirement.specifier
        found = metadata.version(requirement.name)
        equal = Version(found) == Version(bound.version)
        missed += not equal
        print(f"{requirement.name}{bound}, here {found}{'' if equal else ': not the bound'}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
