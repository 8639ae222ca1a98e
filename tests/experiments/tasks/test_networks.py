"""Tests of the networks of the tasks."""

import numpy as np

from experiments.tasks import networks


def _widths(model):
    return {layer.name: layer.units for layer in model.layers if hasattr(layer, "units")}


def _initializers(model):
    return {
        layer.name: type(layer.kernel_initializer).__name__
        for layer in model.layers
        if hasattr(layer, "kernel")
    }


def test_autoencoder_is_symmetric_with_a_linear_output():
    model = networks.autoencoder(12, (8, 6), 3)
    widths = {"encoder_8": 8, "encoder_6": 6, "code_3": 3, "decoder_6": 6, "decoder_8": 8}
    assert _widths(model) == widths | {"pixels": 12}
    assert model.output_shape == (None, 12)
    assert model.layers[-1].activation.__name__ == "linear"
    assert {layer.activation.__name__ for layer in model.layers[1:-1]} == {"relu"}


def test_kernels_before_a_rectifier_are_he_normal_and_no_others():
    found = _initializers(networks.dense_classifier(4, (5,), 3))
    assert found == {"hidden_1": "HeNormal", "logits": "GlorotUniform"}


def test_dense_classifier_has_logits_of_the_classes():
    model = networks.dense_classifier(4, (5, 6), 3)
    assert _widths(model) == {"hidden_1": 5, "hidden_2": 6, "logits": 3}
    assert model(np.ones((2, 4))).shape == (2, 3)


def test_pooling_halves_images_after_each_convolution():
    model = networks.convolutional_classifier((8, 8, 1), (2, 3), 4, 5)
    shapes = {layer.name: layer.output.shape[1:] for layer in model.layers[1:]}
    assert shapes["conv_1"] == (8, 8, 2)
    assert shapes["pool_1"] == (4, 4, 2)
    assert shapes["pool_2"] == (2, 2, 3)
    assert shapes["flatten"] == (12,)
    assert shapes["logits"] == (5,)


def test_layer_keys_are_names_alone():
    paths = [v.path for v in networks.dense_classifier(4, (5,), 3).trainable_variables]
    assert paths[0] == "hidden_1/kernel"
