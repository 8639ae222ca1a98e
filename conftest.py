"""What all tests share: names that the examples in docstrings use, seeds, quicker training.

TensorFlow is imported in functions, since the process that hands out the tests needs none of it.
"""

import functools
import gc
import os

# Set before TensorFlow and NumPy are imported, which read them then. Matrices are small here, and
# the threads of one worker are in the way of the other.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Memory that is freed stays with the worker, which would soon ask the system for it again.
os.environ.setdefault("MALLOC_TOP_PAD_", str(2**26))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**31 - 1))
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**25))

import pytest

# Tracing makes so many objects that looking for cycles among them takes a tenth of the time.
gc.set_threshold(200_000, 100, 100)


@pytest.fixture(autouse=True)
def _names_in_docstrings(doctest_namespace):
    import keras
    import numpy as np

    import keras_taylor

    doctest_namespace.update(keras=keras, np=np, keras_taylor=keras_taylor)


@pytest.fixture(autouse=True)
def _seeded():
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _keras_dtype_is_left_as_it_was():
    import keras

    yield
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == ("float32", "float32")


@functools.cache
def _training():
    """Returns how models train, as Keras has it, by name."""
    import keras

    return {name: getattr(keras.Model, name) for name in ("fit", "train_on_batch")}


def _building_first(train):
    import tensorflow as tf

    @functools.wraps(train)
    def build_and_train(model, *arguments, **options):
        one_device = tf.distribute.get_strategy() is model.distribute_strategy
        if model.compiled and model.built and one_device and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        return train(model, *arguments, **options)

    return build_and_train


@pytest.fixture(scope="session", autouse=True)
def _optimizers_are_built_before_training():
    """An optimizer that is built in the first step of a model has that step traced twice.

    For the whole session, so that fixtures of a module train this way too.
    """
    import keras

    with pytest.MonkeyPatch.context() as patch:
        for name, train in _training().items():
            patch.setattr(keras.Model, name, _building_first(train))
        yield


@pytest.fixture(scope="session", autouse=True)
def _datasets_are_not_tuned():
    """TensorFlow's thread that tunes a dataset sleeps for longer and longer, up to a minute.

    The end of each training waits until it wakes, a third of the time of short trainings.
    """
    import tensorflow as tf

    def iterate(dataset, plain=tf.data.Dataset.__iter__):
        options = tf.data.Options()
        options.autotune.enabled = False
        return plain(dataset.with_options(options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.data.Dataset, "__iter__", iterate)
        yield


@pytest.fixture(autouse=True)
def _optimizers_are_built_in_fit_where_marked(monkeypatch, request):
    import keras

    if request.node.get_closest_marker("optimizer_built_in_fit"):
        for name, train in _training().items():
            monkeypatch.setattr(keras.Model, name, train)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Runs graphs as they were traced, but where a test is marked `optimized_graphs`.

    Optimising a graph takes longer than the few steps that it is made for where models are small.
    It may change bits, so that tests of equal bits are marked.
    """
    import tensorflow as tf

    optimizer, name = tf.config.optimizer, "disable_meta_optimizer"
    is_off = item.get_closest_marker("optimized_graphs") is None
    # Setting it makes graphs be prepared again.
    if optimizer.get_experimental_options().get(name, False) != is_off:
        optimizer.set_experimental_options({name: is_off})


@pytest.fixture(scope="session", autouse=True)
def _operations_forget_where_they_were_made():
    """Each operation of a graph keeps its Python stack for error messages, a tenth of all time.

    Under pytest a stack is some fifty calls deeper. There is no public way to leave it out.
    """
    from tensorflow.python.client import pywrap_tf_session
    from tensorflow.python.util import tf_stack

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf_stack, "extract_stack", lambda *arguments, **options: None)
        patch.setattr(pywrap_tf_session, "TF_SetOpStackTrace", lambda *arguments: None)
        yield


@pytest.fixture
def read_summaries():
    """Reads what was written for TensorBoard: `{tag: [(step, array), ...]}`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    def read(directory):
        events = EventAccumulator(str(directory), {"tensors": 0}).Reload()
        return {
            tag: [(e.step, tensor_util.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)]
            for tag in events.Tags()["tensors"]
        }

    return read
