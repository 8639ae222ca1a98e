"""Tests of writing histograms for TensorBoard."""

import numpy as np
import pytest
import tensorflow as tf

from keras_taylor.callbacks import histograms

VALUES = {
    "spread": np.random.default_rng(0).normal(size=(7, 3)).astype("float32"),
    "one": np.array([2.5]),
    "the same": np.full(4, -1.0, "float32"),
    "counts": np.arange(40),
}


@pytest.mark.parametrize("name", VALUES)
def test_it_is_the_histogram_of_tensorflow(tmp_path, read_summaries, name):
    with tf.summary.create_file_writer(str(tmp_path)).as_default(step=3):
        histograms.write("mine", VALUES[name])
        tf.summary.histogram("theirs", VALUES[name])
    found = read_summaries(tmp_path)
    ((step, mine),), ((other_step, theirs),) = found["mine"], found["theirs"]
    assert step == other_step == 3
    np.testing.assert_allclose(mine, theirs, rtol=1e-12)
