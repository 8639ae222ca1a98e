"""Tests of the builder of scikit-learn's digits."""

import numpy as np
from sklearn import datasets as sklearn_datasets

from experiments.tasks import datasets


def _arrays(split, data_dir):
    examples = list(datasets.load("digits", split, data_dir).as_numpy_iterator())
    images = np.stack([example["image"] for example in examples])
    return images, np.stack([example["label"] for example in examples])


def test_splits_are_every_fifth_example_and_the_rest(data_dir):
    bunch = sklearn_datasets.load_digits()
    is_test = np.arange(len(bunch.target)) % 5 == 4
    for split, chosen in (("train", ~is_test), ("test", is_test)):
        images, labels = _arrays(split, data_dir)
        np.testing.assert_array_equal(images[..., 0], bunch.images[chosen])
        np.testing.assert_array_equal(labels, bunch.target[chosen])


def test_images_are_lossless_bytes(data_dir):
    images, _ = _arrays("test", data_dir)
    assert images.dtype == np.uint8
    assert images.shape == (359, 8, 8, 1)
    assert images.min() == 0
    assert images.max() == 16
