"""Benchmarks: what each price costs, as a ratio to a plain training step of the same run."""

import experiments  # noqa: F401 (imports TensorFlow without its greetings)
