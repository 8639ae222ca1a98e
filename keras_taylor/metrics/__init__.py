"""Metrics that show what a `RegretTracker` found, beside the loss."""

from keras_taylor.metrics.linear_regret import AverageLoss, LinearRegret, OptimumLowerBound

__all__ = ["AverageLoss", "LinearRegret", "OptimumLowerBound"]
