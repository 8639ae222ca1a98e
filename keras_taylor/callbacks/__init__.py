"""Keras callbacks that look at a run while it goes on."""

from keras_taylor.callbacks.activation_recorder import ActivationRecorder

__all__ = ["ActivationRecorder"]
