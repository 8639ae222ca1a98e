"""How one run spreads over several devices: the strategies of TensorFlow by name."""

import contextlib
import functools

import keras
import tensorflow as tf

from experiments.tasks.errors import UsageError


@contextlib.contextmanager
def with_clear_errors():
    """Replaces Keras' error about batches of several workers by one that says what to do."""
    try:
        yield
    except ValueError as error:
        if "PerReplica" not in str(error):
            raise
        raise UsageError(
            f"--strategy=multi_worker: Keras {keras.__version__} cannot train one model on several "
            "workers (https://github.com/keras-team/keras/issues/20585). Use --strategy=mirrored "
            "on one machine, or --ray_address to spread runs over many"
        ) from error


def _tpu():
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
    except ValueError as error:
        raise UsageError(
            f"--strategy=tpu: {error} Set TPU_NAME to the name of one, or to local on its own host"
        ) from error
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)


STRATEGIES = {
    "mirrored": tf.distribute.MirroredStrategy,
    "multi_worker": tf.distribute.MultiWorkerMirroredStrategy,
    "tpu": _tpu,
}


@functools.cache
def get(name):
    """Returns the strategy of a name, `None` for that of one device, the same one each time.

    Call it before any computation, since several workers have to connect first.
    """
    return tf.distribute.get_strategy() if name is None else STRATEGIES[name]()
