"""Metrics that show the averages of a `RegretTracker` beside the loss."""

from keras_taylor.metrics.linear_regret import AverageLoss, LinearRegret, OptimumLowerBound

__all__ = ["AverageLoss", "LinearRegret", "OptimumLowerBound"]
