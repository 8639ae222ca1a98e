"""Metrics that show in the logs what a `RegretTracker` found."""

from keras_taylor.metrics.guarantee import RelativeRegret, StepRatio
from keras_taylor.metrics.linear_regret import AverageLoss, LinearRegret, OptimumLowerBound

__all__ = ["AverageLoss", "LinearRegret", "OptimumLowerBound", "RelativeRegret", "StepRatio"]
