"""keras_taylor: why did this optimizer end where it did?

Splits the training loss of a Keras model into the Taylor optimum (what the landscape that a run
saw had to offer) and Taylor regret (what the optimizer left on the table), as in Balduzzi,
McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017.
"""

import keras as _keras

if _keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"keras_taylor needs Keras with the TensorFlow backend, but Keras runs on "
        f"{_keras.backend.backend()!r}: set KERAS_BACKEND=tensorflow before Keras is imported"
    )

from keras_taylor import callbacks, exploration, metrics, optimizers
from keras_taylor.diagnosis.diagnosis import Diagnosis, diagnose
from keras_taylor.exploration import shattering
from keras_taylor.models import TaylorModel
from keras_taylor.optimum.decomposition import Decomposition, decompose
from keras_taylor.optimum.growth import Rate
from keras_taylor.optimum.optimum import Optimum
from keras_taylor.optimum.taylor_optimum import taylor_optimum
from keras_taylor.taylor.losses import (
    taylor_curvature_product,
    taylor_loss,
    taylor_loss_and_gradient,
)
from keras_taylor.tracking import signal_to_noise
from keras_taylor.trajectory.recording import record
from keras_taylor.trajectory.trajectory import Round, Trajectory
from keras_taylor.version import __version__

__all__ = [
    "Decomposition",
    "Diagnosis",
    "Optimum",
    "Rate",
    "Round",
    "TaylorModel",
    "Trajectory",
    "__version__",
    "callbacks",
    "decompose",
    "diagnose",
    "exploration",
    "metrics",
    "optimizers",
    "record",
    "shattering",
    "signal_to_noise",
    "taylor_curvature_product",
    "taylor_loss",
    "taylor_loss_and_gradient",
    "taylor_optimum",
]
