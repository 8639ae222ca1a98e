"""Nested arrays in sharded, checksummed record files."""

import numpy as np
import tensorflow as tf

from keras_taylor.trajectory.replacing import write_json

PROGRESS = "progress.json"
SHARD_ROUNDS = 64
# Fields of a round whose first axis is the batch. The last batch may be smaller.
BATCH_FIELDS = ("x", "y", "sample_weight")


class Layout:
    """The order of the arrays of a nested structure in a flat list, with their shapes and dtypes.

    Args:
        description: A dictionary that JSON can hold. Its `kind` is `"leaf"` (with `dtype` and
            `shape`, where a length that varies is `None`), `"dict"` or `"list"` or `"tuple"`
            (with `items`), or `"none"`.

    Attributes:
        description: The same dictionary.
        leaves: The descriptions of the arrays, in the order of the flat list.

    Example:

    >>> layout = Layout.of({"x": np.ones((4, 2)), "loss": np.float64(3.0)})
    >>> [leaf["shape"] for leaf in layout.leaves]
    [[None, 2], []]
    >>> layout.unflatten(layout.flatten({"x": np.ones((1, 2)), "loss": np.float64(5.0)}))
    {'x': array([[1., 1.]]), 'loss': array(5.)}
    """

    def __init__(self, description):
        self.description = description
        self.leaves = list(_leaves(description))

    @classmethod
    def of(cls, structure):
        """Returns the layout of a round. The first axis of x, y and sample weights may vary."""
        return cls(_describe(structure))

    def flatten(self, structure):
        """Returns the arrays of a structure as a flat list.

        Raises:
            ValueError: if an array has another shape or dtype than the layout says.
        """
        flat = list(_flatten(self.description, structure))
        for leaf, array in zip(self.leaves, flat, strict=True):
            fits = len(array.shape) == len(leaf["shape"]) and all(
                expected in (None, found)
                for expected, found in zip(leaf["shape"], array.shape, strict=True)
            )
            if not fits or array.dtype.name != leaf["dtype"]:
                raise ValueError(
                    f"expected an array of shape {leaf['shape']} and dtype {leaf['dtype']}, as in "
                    f"the first round; received {array.shape}, {array.dtype.name}"
                )
        return flat

    def unflatten(self, flat):
        """Returns the structure with the arrays or tensors of a flat list."""
        iterator = iter(flat)
        return _unflatten(self.description, iterator)


class Writer:
    """Appends structures to shards. What was appended stays readable if writing stops later.

    Args:
        path: The directory.
        layout: The `Layout` of each structure.
        shards: The number of structures in each shard that exists already.

    Attributes:
        shards: The number of structures in each shard.
        notes: A dictionary that is written beside the numbers, in the progress file.
    """

    def __init__(self, path, layout, shards=()):
        self._path, self._layout = path, layout
        self.shards, self.notes = list(shards), {}
        self._file = None

    @property
    def is_between_shards(self):
        """Whether the next structure begins a shard."""
        return self._file is None

    def finished_shards(self):
        """Closes the shard that is open; returns the number of structures in each shard."""
        self.close()
        return list(self.shards)

    def append(self, structure):
        """Writes a structure to the shard that is open, and then the progress file."""
        if self._file is None:
            name = str(shard_path(self._path, len(self.shards)))
            self._file = tf.io.TFRecordWriter(name)
            self.shards.append(0)
        tensors = [tf.io.serialize_tensor(array) for array in self._layout.flatten(structure)]
        values = tf.train.BytesList(value=[tensor.numpy() for tensor in tensors])
        feature = tf.train.Feature(bytes_list=values)
        features = tf.train.Features(feature={"tensors": feature})
        self._file.write(tf.train.Example(features=features).SerializeToString())
        self._file.flush()
        self.shards[-1] += 1
        write_json(self._path / PROGRESS, {"shards": self.shards} | self.notes)
        if self.shards[-1] == SHARD_ROUNDS:
            self.close()

    def close(self):
        """Closes the shard that is open, so that the next structure begins another one."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read(path, shards, layout):
    """Returns a `tf.data.Dataset` of flat tuples of tensors, in the order of writing.

    Args:
        path: The directory.
        shards: The number of structures in each shard.
        layout: The `Layout` of each structure.
    """
    files = [str(shard_path(path, index)) for index in range(len(shards))]
    records = tf.data.TFRecordDataset(files).take(sum(shards))
    return records.map(lambda record: _parsed(record, layout)).prefetch(2)


def damage(path, shards):
    """Returns a sentence that names the first record that cannot be read, or `None`."""
    for index, expected in enumerate(shards):
        file = shard_path(path, index)
        found = 0
        try:
            for _ in tf.data.TFRecordDataset(str(file)).take(expected):
                found += 1
        except (tf.errors.DataLossError, tf.errors.NotFoundError) as error:
            return f"{file} is damaged at its record {found + 1}: {error.message}"
        if found < expected:
            return f"{file} is truncated: it has {found} of {expected} records"
    return None


def shard_path(path, index):
    """Returns the path of a shard's file."""
    return path / f"rounds-{index:05d}.tfrecord"


def _parsed(record, layout):
    features = {"tensors": tf.io.FixedLenFeature((len(layout.leaves),), tf.string)}
    tensors = tf.io.parse_single_example(record, features)["tensors"]
    parsed = []
    for index, leaf in enumerate(layout.leaves):
        tensor = tf.io.parse_tensor(tensors[index], leaf["dtype"])
        parsed.append(tf.ensure_shape(tensor, leaf["shape"]))
    return tuple(parsed)


def _describe(value, is_batch=False):
    if value is None:
        return {"kind": "none"}
    if isinstance(value, dict):
        items = {
            key: _describe(item, is_batch or key in BATCH_FIELDS) for key, item in value.items()
        }
        return {"kind": "dict", "items": items}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {"kind": kind, "items": [_describe(item, is_batch) for item in value]}
    array = np.asarray(value)
    shape = [None, *array.shape[1:]] if is_batch and array.ndim else list(array.shape)
    return {"kind": "leaf", "dtype": array.dtype.name, "shape": shape}


def _items(description, structure=None):
    if description["kind"] == "dict":
        return [(item, structure and structure[key]) for key, item in description["items"].items()]
    return list(zip(description["items"], structure or description["items"], strict=True))


def _leaves(description):
    if description["kind"] == "leaf":
        yield description
    elif description["kind"] != "none":
        for item, _ in _items(description):
            yield from _leaves(item)


def _flatten(description, structure):
    if description["kind"] == "leaf":
        yield np.asarray(structure)
    elif description["kind"] != "none":
        for item, piece in _items(description, structure):
            yield from _flatten(item, piece)


def _unflatten(description, flat):
    kind = description["kind"]
    if kind == "none":
        return None
    if kind == "leaf":
        return next(flat)
    if kind == "dict":
        return {key: _unflatten(item, flat) for key, item in description["items"].items()}
    items = [_unflatten(item, flat) for item in description["items"]]
    return items if kind == "list" else tuple(items)
