"""Handwritten digits that scikit-learn bundles, as a TensorFlow Datasets builder."""

import numpy as np
import tensorflow_datasets as tfds
from sklearn import datasets

# Every fifth example is a test example. The file has no order that this rule could pick up.
TEST_STRIDE = 5
LARGEST_PIXEL = 16


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 real handwritten digits of 8x8 pixels, with values from 0 to 16.

    The data comes with scikit-learn, hence preparing it downloads nothing.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    # Without this, TensorFlow Datasets searches the package for checksums of downloads.
    url_infos = {}

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://scikit-learn.org/stable/datasets/toy_dataset.html",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        return {
            "train": self._generate_examples(test=False),
            "test": self._generate_examples(test=True),
        }

    def _generate_examples(self, test):
        bunch = datasets.load_digits()
        for index, (image, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
            if (index % TEST_STRIDE == TEST_STRIDE - 1) == test:
                yield index, {"image": image[..., None].astype(np.uint8), "label": int(label)}
