"""Experiments with keras_taylor: thin binaries over shared tables, training and reports."""

import os

from experiments import startup

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Here, because a worker process imports this package first too.
startup.import_tensorflow()
