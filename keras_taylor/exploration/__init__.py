"""How a run explores activation configurations, and how its gradients shatter."""

from keras_taylor.exploration.measures import (
    always_on_share,
    dead_share,
    dead_unit_numbers,
    digests,
    hamming,
    hamming_share,
    nearest_share,
    unit_frequency,
)
from keras_taylor.exploration.snapshots import Bits, Probe, Snapshot

__all__ = [
    "Bits",
    "Probe",
    "Snapshot",
    "always_on_share",
    "dead_share",
    "dead_unit_numbers",
    "digests",
    "hamming",
    "hamming_share",
    "nearest_share",
    "unit_frequency",
]
