"""Optimizers that wrap a Keras optimizer and take its place."""

from keras_taylor.optimizers.loss_scaled import LossScaled
from keras_taylor.optimizers.regret_tracker import RegretTracker
from keras_taylor.optimizers.rms_normalized import RMSNormalized

__all__ = ["LossScaled", "RMSNormalized", "RegretTracker"]
