"""Benchmarks: what each price costs, as a ratio to a plain training step of the same run."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
