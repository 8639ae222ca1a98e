"""Optimizers that wrap a Keras optimizer and are used in its place."""

from keras_taylor.optimizers.regret_tracker import RegretTracker

__all__ = ["RegretTracker"]
