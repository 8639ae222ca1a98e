"""Experiments with keras_taylor: thin binaries over shared tables, training and reports."""

import os

# TensorFlow greets with several lines of its build's CPU features, which would drown the tables.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
