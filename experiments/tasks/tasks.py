"""The table of tasks: data, network, loss and batch size, and the pipeline that feeds them."""

import dataclasses
import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from experiments.tasks import datasets, losses, networks
from experiments.tasks.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Task:
    """A dataset, a network and a loss.

    Args:
        name: Name of the task, as in `--task`.
        dataset: Name of the dataset, as in `experiments.tasks.datasets.load`.
        to_pair: Turns a batch of examples (a dictionary of features) into `(x, y)`.
        build_model: Returns a new, uncompiled model; its weights follow from Keras' seed.
        build_loss: Returns the loss, which is convex in the model's outputs.
        batch_size: Examples in a batch; a smaller last batch is dropped.
        epochs: The default number of epochs.
        metrics: Keras metrics beside the loss.
    """

    name: str
    dataset: str
    to_pair: Callable
    build_model: Callable
    build_loss: Callable
    batch_size: int
    epochs: int
    metrics: tuple = ()


def scaled(image, largest_pixel):
    """Returns an image with pixels in [0, 1]."""
    return tf.cast(image, tf.float32) / largest_pixel


def flattened(image):
    """Returns a batch of images as a batch of vectors."""
    return tf.reshape(image, (-1, image.shape[1] * image.shape[2] * image.shape[3]))


def image_to_itself(example, largest_pixel=255.0):
    """The pair of an autoencoder: the vector of pixels, twice."""
    pixels = flattened(scaled(example["image"], largest_pixel))
    return pixels, pixels


def vector_to_label(example, largest_pixel=255.0):
    """The pair of a dense classifier: the vector of pixels and the label."""
    return flattened(scaled(example["image"], largest_pixel)), example["label"]


def image_to_label(example, largest_pixel=255.0):
    """The pair of a convolutional classifier: the image and the label."""
    return scaled(example["image"], largest_pixel), example["label"]


_cross_entropy = functools.partial(keras.losses.SparseCategoricalCrossentropy, from_logits=True)
_classifier = {"build_loss": _cross_entropy, "metrics": ("accuracy",)}
_sixteenths = {"largest_pixel": 16.0}

TASKS = {
    task.name: task
    for task in (
        Task(
            name="digits_classifier",
            dataset="digits",
            to_pair=functools.partial(vector_to_label, **_sixteenths),
            build_model=functools.partial(
                networks.dense_classifier, pixels=64, hidden=(64, 32), classes=10
            ),
            batch_size=32,
            epochs=20,
            **_classifier,
        ),
        Task(
            name="digits_autoencoder",
            dataset="digits",
            to_pair=functools.partial(image_to_itself, **_sixteenths),
            build_model=functools.partial(
                networks.autoencoder, pixels=64, encoder=(32, 16), code=8
            ),
            build_loss=losses.SummedSquaredError,
            batch_size=32,
            epochs=20,
        ),
        Task(
            name="mnist_autoencoder",
            dataset="mnist",
            to_pair=image_to_itself,
            build_model=functools.partial(
                networks.autoencoder, pixels=784, encoder=(50, 30), code=20
            ),
            build_loss=losses.SummedSquaredError,
            batch_size=64,
            epochs=5,
        ),
        Task(
            name="mnist_classifier",
            dataset="mnist",
            to_pair=vector_to_label,
            build_model=functools.partial(
                networks.dense_classifier, pixels=784, hidden=(100, 50), classes=10
            ),
            batch_size=64,
            epochs=5,
            **_classifier,
        ),
        Task(
            name="cifar10_convnet",
            dataset="cifar10",
            to_pair=image_to_label,
            build_model=functools.partial(
                networks.convolutional_classifier,
                shape=(32, 32, 3),
                filters=(64, 64, 64),
                dense=192,
                classes=10,
            ),
            batch_size=128,
            epochs=5,
            **_classifier,
        ),
    )
}


def get(name):
    """Returns the task of that name.

    Raises:
        UsageError: if there is none; the message lists the known names.
    """
    if name not in TASKS:
        raise UsageError(f"unknown task {name!r}: expected one of {', '.join(TASKS)}")
    return TASKS[name]


def examples(task, data_dir=None):
    """Loads the training examples of a task, decodes them and keeps them in memory.

    Raises:
        DataNotFoundError: if the data are absent or damaged; see `experiments.tasks.datasets`.
    """
    kept = datasets.load(task.dataset, "train", data_dir).cache()
    # Read completely first: if the first iterator ends early, tf.data may cache only the examples
    # that it read.
    with datasets.readable(task.dataset, data_dir):
        kept.reduce(tf.constant(0, "int64"), lambda count, _: count + 1)
    return kept


def batches(task, dataset, seed):
    """Returns one epoch of shuffled batches; each pass over the result is another epoch.

    The order changes with each epoch, and is the same for each call with the same seed, so that
    every optimizer sees the same batches.
    """
    shuffled = dataset.shuffle(len(dataset), seed=seed, reshuffle_each_iteration=True)
    batched = shuffled.batch(task.batch_size, drop_remainder=True)
    return batched.map(task.to_pair).prefetch(1).with_options(_untuned())


def _untuned():
    # There is nothing to tune, and the end of a training waits for the thread that does, which
    # sleeps for up to a minute.
    options = tf.data.Options()
    options.autotune.enabled = False
    return options
