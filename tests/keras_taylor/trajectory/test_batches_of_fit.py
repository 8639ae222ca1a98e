"""Tests that a training step gets in `record` what it gets in `fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_taylor as kt

EXAMPLES, BATCH, STEPS = 16, 4, 4


def _described(data):
    """Returns the structure of a batch with the kinds and dtypes of its tensors."""
    return keras.tree.map_structure(lambda value: (tf.is_tensor(value), value.dtype.name), data)


class Noting(keras.Model):
    """A model that notes what its training step is given."""

    def train_step(self, data):
        self.noted.append(_described(data))
        return super().train_step(data)


def _noting(**options):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    model = Noting(inputs, layers.Dense(2)(inputs))
    model.compile(keras.optimizers.Adam(0.1), loss="mse", **options)
    object.__setattr__(model, "noted", [])
    return model


def _batches(parts):
    generator = np.random.default_rng(0)
    shapes = ((BATCH, 3), (BATCH, 2), (BATCH,))[:parts]
    return [
        tuple(generator.uniform(size=s).astype("float32") for s in shapes) for _ in range(STEPS)
    ]


def _same_weights(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}], ids=["graph", "eager"])
@pytest.mark.parametrize("parts", [2, 3])
def test_a_custom_train_step_gets_what_fit_gives_it(path, parts, options):
    plain, recorded = _noting(**options), _noting(**options)
    plain.fit((batch for batch in _batches(parts)), steps_per_epoch=STEPS, verbose=0)
    trajectory = kt.record(recorded, _batches(parts), path, steps=STEPS, verbose=0)
    assert len(trajectory) == STEPS
    assert recorded.noted == plain.noted
    assert len(recorded.noted[0]) == parts
    _same_weights(recorded, plain)


def test_a_train_step_without_a_loss_in_its_logs_is_refused(path):
    class Silent(Noting):
        def train_step(self, data):
            return {"error": super().train_step(data)["loss"]}

    inputs = keras.Input((3,))
    model = Silent(inputs, layers.Dense(2)(inputs), name="silent")
    model.compile("sgd", loss="mse")
    object.__setattr__(model, "noted", [])
    with pytest.raises(ValueError, match=r"model 'silent' returned logs of \['error'\].*'loss'"):
        kt.record(model, _batches(2), path, steps=STEPS, verbose=0)


class Pipeline(keras.Model):
    """A model with a preprocessor, whose `fit` works as that of KerasHub's tasks."""

    preprocessor = None

    def preprocess_samples(self, x, y=None, sample_weight=None):
        x = x if self.preprocessor is None else self.preprocessor(x)
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def fit(self, x, **options):
        return super().fit(x.map(self.preprocess_samples), **options)


def _pipeline():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((2,), dtype="int64")
    model = Pipeline(inputs, layers.Dense(2)(layers.Flatten()(layers.Embedding(5, 3)(inputs))))
    lookup = layers.StringLookup(vocabulary=["good", "bad", "fox"])
    model.preprocessor = lambda x: lookup(tf.strings.split(x).to_tensor(shape=(None, 2)))
    model.compile(keras.optimizers.Adam(0.1), loss="mse")
    return model


def _texts():
    x = np.array(["good fox", "bad fox", "good bad", "fox fox"] * (EXAMPLES // 4))
    return x, np.random.default_rng(0).normal(size=(EXAMPLES, 2)).astype("float32")


def _text_dataset():
    return tf.data.Dataset.from_tensor_slices(_texts()).batch(BATCH)


@pytest.mark.parametrize("kind", ["dataset", "arrays"])
def test_batches_are_preprocessed_as_in_fit(path, kind):
    plain, recorded = _pipeline(), _pipeline()
    plain.fit(_text_dataset(), verbose=0)
    x, y = _texts()
    cut = [slice(n, n + BATCH) for n in range(0, EXAMPLES, BATCH)]
    data = _text_dataset() if kind == "dataset" else [(x[part], y[part]) for part in cut]
    trajectory = kt.record(recorded, data, path, steps=STEPS, verbose=0)
    _same_weights(recorded, plain)
    assert next(iter(trajectory)).x.tolist() == [[1, 3], [2, 3], [1, 2], [3, 3]]
    found = kt.taylor_optimum(trajectory, recorded, verbose=0)
    assert found.lower_bound <= found.value <= found.average_loss


def test_preprocessed_batches_are_recorded_without_the_preprocessor(path):
    plain, recorded = _pipeline(), _pipeline()
    plain.fit(_text_dataset(), verbose=0)
    data = _text_dataset().map(recorded.preprocess_samples)
    recorded.preprocessor = None
    kt.record(recorded, data, path, steps=STEPS, verbose=0)
    _same_weights(recorded, plain)


def test_a_taylor_model_of_a_model_that_preprocesses_is_refused_with_what_works():
    plain, model = _pipeline(), _pipeline()
    plain.fit(_text_dataset(), verbose=0)
    with pytest.raises(ValueError, match=r"map\(model.preprocess_samples\).*preprocessor = None"):
        kt.TaylorModel.from_model(model)
    data = _text_dataset().map(model.preprocess_samples)
    model.preprocessor = None
    taylor = kt.TaylorModel.from_model(model)
    taylor.compile(keras.optimizers.Adam(0.1), loss="mse")
    assert "taylor_loss" in taylor.fit(data, verbose=0).history
    _same_weights(taylor, plain)


@pytest.mark.slow
def test_a_text_classifier_of_keras_hub_is_recorded_as_it_is_fitted(path):
    hub = pytest.importorskip("keras_hub")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "fox"]

    def model():
        keras.utils.set_random_seed(0)
        tokenizer = hub.models.BertTokenizer(vocabulary=words)
        backbone = hub.models.BertBackbone(
            vocabulary_size=len(words),
            num_layers=1,
            num_heads=2,
            hidden_dim=8,
            intermediate_dim=16,
            max_sequence_length=6,
        )
        preprocessor = hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=6)
        made = hub.models.BertTextClassifier(backbone, 2, preprocessor=preprocessor)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        made.compile(keras.optimizers.Adam(0.01), loss)
        return made

    data = _text_dataset().map(lambda x, y: (x, tf.argmax(y, axis=-1)))
    plain, recorded = model(), model()
    plain.fit(data, verbose=0)
    trajectory = kt.record(recorded, data, path, steps=STEPS, verbose=0)
    _same_weights(recorded, plain)
    found = kt.taylor_optimum(trajectory, recorded, "layer:logits", verbose=0)
    assert found.lower_bound <= found.value <= found.average_loss
