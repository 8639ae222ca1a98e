"""Keras callbacks that look at a run while it trains."""

from keras_taylor.callbacks.activation_recorder import ActivationRecorder
from keras_taylor.callbacks.diagnose import Diagnose
from keras_taylor.callbacks.regret_summaries import RegretSummaries

__all__ = ["ActivationRecorder", "Diagnose", "RegretSummaries"]
