"""Interleaved timing: functions run in turn, so that drifts of the machine affect all equally."""

import concurrent.futures
import gc
import multiprocessing
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

from experiments.tasks import tasks

NETWORKS = {"convnet": "cifar10_convnet", "autoencoder": "mnist_autoencoder"}
# Rounds in a timed block: enough for the clock, few enough that drifts affect all equally.
ROUNDS = {"convnet": 2, "autoencoder": 60}
# Single calls: enough that the least time is not affected by other work on the machine.
CALLS = {"convnet": 30, "autoencoder": 1000}


def numpy_batch(network):
    """Returns one batch of noise of the network's shape and batch size, as arrays."""
    task = tasks.get(NETWORKS[network])
    model = task.build_model()
    generator = np.random.default_rng(0)
    x = generator.uniform(size=(task.batch_size, *model.input_shape[1:])).astype("float32")
    is_classifier = model.output_shape != model.input_shape
    y = generator.integers(0, model.output_shape[-1], task.batch_size) if is_classifier else x
    return x, y


def batch(network):
    """Returns the arrays of `numpy_batch` as tensors."""
    x, y = numpy_batch(network)
    return tf.constant(x), tf.constant(y)


def compiled(network, optimizer, wrap_model=None, **options):
    """Returns a new model of the network, compiled with an optimizer."""
    task = tasks.get(NETWORKS[network])
    keras.utils.set_random_seed(0)
    model = task.build_model()
    model = model if wrap_model is None else wrap_model(model)
    model.compile(optimizer, loss=task.build_loss(), **options)
    return model


def stepper(model, data, rounds):
    """Returns a function that trains the model for some rounds on the same batch, as `fit` does."""
    iterator = iter(tf.data.Dataset.from_tensors(data).repeat())
    model.make_train_function()

    def run():
        for _ in range(rounds):
            logs = model.train_function(iterator)
        return float(logs["loss"])

    return run


def alone(function, cases):
    """Returns the results of a function for cases, each in a new process, one after the other.

    Earlier work in a process (the convnet's large tensors) slows small steps by a tenth.
    """
    with concurrent.futures.ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        return list(pool.map(function, *zip(*cases, strict=True)))


def interleaved(functions, blocks, warm_up=2):
    """Runs functions in turn and returns the seconds of each block: `{name: [seconds]}`."""
    for function in functions.values():
        for _ in range(warm_up):
            function()
    seconds = {name: [] for name in functions}
    gc.disable()
    try:
        for _ in range(blocks):
            for name, function in functions.items():
                began = time.perf_counter()
                function()
                seconds[name].append(time.perf_counter() - began)
    finally:
        gc.enable()
    return seconds


def ratio(seconds, name, baseline):
    """Returns the median of the ratios of blocks that ran side by side."""
    pairs = zip(seconds[name], seconds[baseline], strict=True)
    return statistics.median(one / other for one, other in pairs)


def least_milliseconds(function, calls):
    """Returns the least milliseconds of a call, after two calls to warm up."""
    seconds = []
    for _ in range(calls + 2):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return 1000 * min(seconds[2:])
