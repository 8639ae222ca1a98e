"""Tests of the table of tasks and of its pipeline."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from experiments.tasks import tasks
from experiments.tasks.errors import UsageError

# Input shape, output width, parameters of the model, batch size.
EXPECTED = {
    "digits_classifier": ((64,), 10, 6_570, 32),
    "digits_autoencoder": ((64,), 64, 5_544, 32),
    "mnist_autoencoder": ((784,), 784, 83_564, 64),
    "mnist_classifier": ((784,), 10, 84_060, 64),
    "cifar10_convnet": ((32, 32, 3), 10, 408_522, 128),
}
IMAGES = {"digits": (8, 8, 1), "mnist": (28, 28, 1), "cifar10": (32, 32, 3)}


def _examples(task, count):
    images = tf.random.uniform((count, *IMAGES[task.dataset]), maxval=17, dtype=tf.int32)
    labels = tf.range(count, dtype=tf.int64) % 10
    return tf.data.Dataset.from_tensor_slices({"image": tf.cast(images, tf.uint8), "label": labels})


def _order(task, dataset, seed, epochs=2):
    pipeline = tasks.batches(task, dataset, seed)
    return [np.concatenate([x for x, _ in pipeline.as_numpy_iterator()]) for _ in range(epochs)]


def test_table_is_complete():
    assert set(tasks.TASKS) == set(EXPECTED)
    assert all(name == task.name for name, task in tasks.TASKS.items())


@pytest.mark.parametrize("name", EXPECTED)
def test_model_has_the_shapes_and_parameters_of_the_table(name):
    input_shape, outputs, parameters, batch_size = EXPECTED[name]
    task = tasks.get(name)
    model = task.build_model()
    assert model.input_shape == (None, *input_shape)
    assert model.output_shape == (None, outputs)
    assert model.count_params() == parameters
    assert task.batch_size == batch_size


def test_autoencoder_of_the_paper():
    dense = tasks.get("mnist_autoencoder").build_model().layers[1:]
    assert [layer.units for layer in dense] == [50, 30, 20, 30, 50, 784]
    names = [layer.activation.__name__ for layer in dense]
    assert names == ["relu"] * 5 + ["linear"]


def test_convnet_of_the_paper():
    layers = tasks.get("cifar10_convnet").build_model().layers
    convolutions = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    pools = [layer for layer in layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert [(layer.filters, layer.kernel_size) for layer in convolutions] == [(64, (5, 5))] * 3
    assert [layer.pool_size for layer in pools] == [(2, 2)] * 3
    assert [layer.units for layer in layers[-2:]] == [192, 10]
    assert layers[-1].activation is keras.activations.linear


@pytest.mark.parametrize("name", EXPECTED)
def test_batches_fit_the_model_and_pixels_are_scaled(name):
    task = tasks.get(name)
    count = 2 * task.batch_size + 1
    x, y = next(iter(tasks.batches(task, _examples(task, count), seed=0)))
    assert x.shape == (task.batch_size, *EXPECTED[name][0])
    assert 0 <= np.min(x) <= np.max(x) <= 1
    assert np.isfinite(task.build_loss()(y, task.build_model()(x)))


def test_incomplete_batch_is_dropped():
    task = tasks.get("digits_classifier")
    assert len(tasks.batches(task, _examples(task, 3 * 32 + 31), seed=0)) == 3


def test_nothing_waits_for_the_tuning_of_a_dataset():
    task = tasks.get("digits_classifier")
    repeated = tasks.batches(task, _examples(task, 64), seed=0).repeat()
    assert repeated.options().autotune.enabled is False


def test_order_is_the_same_for_the_same_seed_and_changes_with_each_epoch():
    task = tasks.get("digits_classifier")
    dataset = _examples(task, 64).cache()
    orders = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        orders.append(_order(task, dataset, seed))
    first, again, other = orders
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])


def test_same_seed_gives_the_same_initial_weights():
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        weights.append(tasks.get("digits_classifier").build_model().get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_digits_are_loaded(data_dir):
    task = tasks.get("digits_autoencoder")
    x, y = next(iter(tasks.batches(task, tasks.examples(task, data_dir), seed=0)))
    np.testing.assert_array_equal(x, y)
    assert np.max(x) == 1


@pytest.mark.parametrize("name", ["mnist_autoencoder", "cifar10_convnet"])
def test_prepared_data_of_the_paper_is_loaded(name):
    task = tasks.get(name)
    builder = tfds.builder(task.dataset)
    if not builder.is_prepared():
        pytest.skip(f"{builder.data_dir} is not prepared ($TFDS_DATA_DIR may name another place)")
    x, _ = next(iter(tasks.batches(task, tasks.examples(task).take(256), seed=0)))
    assert x.shape == (task.batch_size, *EXPECTED[name][0])


def test_unknown_task_lists_the_known():
    with pytest.raises(UsageError, match="nope.*digits_classifier.*cifar10_convnet"):
        tasks.get("nope")
    assert issubclass(UsageError, ValueError)


def test_reading_a_part_of_the_examples_leaves_them_whole(data_dir):
    """Where tf.data's cache is read in part first, it may take the part for all there is."""
    task = tasks.get("digits_classifier")
    for _ in range(5):
        examples = tasks.examples(task, data_dir)
        next(iter(examples.batch(500)))
        batches = list(tasks.batches(task, examples, seed=0))
        assert len(batches) == 1438 // 32
        assert len(np.unique(np.concatenate([x for x, _ in batches]), axis=0)) > 1300
