"""Models that compute Taylor losses while they train."""

from keras_taylor.models.taylor_model import TaylorModel

__all__ = ["TaylorModel"]
