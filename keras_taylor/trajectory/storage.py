"""Rounds in sharded, checksummed record files, each of which says which round of which run it is.

A record is a `tf.train.Example` with the serialized arrays of a round, the id of its run, its
number in the run and the number of its shard. Every reading holds these against the manifest, and
the number of records against the progress file.
"""

import contextlib
import errno

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_taylor.trajectory import sealed

PROGRESS = "progress.json"
SHARD_ROUNDS = 64
# What TensorFlow says of a file that cannot be written, as the operating system says it.
ERRORS = {
    tf.errors.ResourceExhaustedError: errno.ENOSPC,
    tf.errors.PermissionDeniedError: errno.EACCES,
    tf.errors.NotFoundError: errno.ENOENT,
}


class Writer:
    """Appends structures to shards. What was appended stays readable if writing stops later.

    Args:
        path: The directory.
        run: The id of the run.
        layout: The `keras_taylor.trajectory.layout.Layout` of each structure.
        shards: The number of structures in each shard that exists already.

    Attributes:
        layout: The layout; a wider one may take its place.
        shards: The number of structures in each shard.
        notes: A dictionary that is written beside the numbers, in the progress file.
    """

    def __init__(self, path, run, layout, shards=()):
        self._path, self._run, self.layout = path, run, layout
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

    def write_progress(self):
        """Writes how many structures each shard has."""
        progress = {"run": self._run, "shards": self.shards} | self.notes
        sealed.write_json(self._path / PROGRESS, progress)

    def append(self, number, structure):
        """Writes a structure, the round of that number, and then the progress file.

        Raises:
            OSError: if the disk is full, or the directory cannot be written to.
        """
        if self._file is None:
            self._begin_shard()
        with _told_by_system(self._name):
            self._file.write(self._record(number, structure))
            self._file.flush()
        self.shards[-1] += 1
        self.write_progress()
        if self.shards[-1] == SHARD_ROUNDS:
            self.close()

    def close(self):
        """Closes the shard that is open, so that the next structure begins another one."""
        if self._file is not None:
            file, self._file = self._file, None
            with _told_by_system(self._name):
                file.close()

    def _begin_shard(self):
        # A shard of that number may be there, to be written again: it no longer counts.
        self.write_progress()
        self._name = str(shard_path(self._path, len(self.shards)))
        with _told_by_system(self._name):
            self._file = tf.io.TFRecordWriter(self._name)
        self.shards.append(0)

    def _record(self, number, structure):
        tensors = [tf.io.serialize_tensor(array) for array in self.layout.flatten(structure)]
        feature = {
            "tensors": _bytes([tensor.numpy() for tensor in tensors]),
            "run": _bytes([self._run.encode()]),
            "number": _integer(number),
            "shard": _integer(len(self.shards) - 1),
        }
        return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def read(path, run, shards, numbers, layout):
    """Returns a `tf.data.Dataset` of flat tuples of tensors, in the order of writing.

    An array that is absent from a round has no examples. Iteration raises a
    `tf.errors.InvalidArgumentError` where a record is missing, or not the one expected.

    Args:
        path: The directory.
        run: The id of the run.
        shards: The number of structures in each shard.
        numbers: The number of each structure's round in the run.
        layout: The `keras_taylor.trajectory.layout.Layout` of each structure.
    """
    # Stands for records that a shard has not.
    missing = tf.data.Dataset.from_tensors(tf.constant("")).repeat()

    def records(file, count):
        return tf.data.TFRecordDataset(file).concatenate(missing).take(count)

    files = tf.constant([str(shard_path(path, index)) for index in range(len(shards))], tf.string)
    found = tf.data.Dataset.from_tensor_slices((files, np.asarray(shards, "int64")))
    places = np.repeat(np.arange(len(shards), dtype="int64"), shards)
    expected = tf.data.Dataset.from_tensor_slices((np.asarray(numbers, "int64"), places))
    pairs = tf.data.Dataset.zip((found.flat_map(records), expected))
    parsed = pairs.map(lambda record, place: _parsed(record, run, place, layout)).prefetch(2)
    return parsed.with_options(_as_it_is())


def _as_it_is():
    """Returns options by which a pipeline is not rewritten, which takes longer than reading it."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return options


def damage(path, run, shards, numbers):
    """Returns a sentence that names the first record that is missing or wrong, or `None`.

    Args:
        path: The directory.
        run: The id of the run.
        shards: The number of structures in each shard.
        numbers: The number of each structure's round in the run.
    """
    numbers = iter(numbers)
    for index, expected in enumerate(shards):
        file, found = shard_path(path, index), 0
        try:
            for record in tf.data.TFRecordDataset(str(file)).take(expected):
                wrong = _wrong(record.numpy(), run, index, next(numbers))
                if wrong:
                    return f"{file}, record {found + 1}: {wrong}"
                found += 1
        except (tf.errors.DataLossError, tf.errors.NotFoundError) as error:
            return f"{file} is damaged at its record {found + 1}: {error.message}"
        if found < expected:
            return f"{file} is truncated: it has {found} of {expected} records"
    return None


def shard_path(path, index):
    """Returns the path of a shard's file."""
    return path / f"rounds-{index:05d}.tfrecord"


def _wrong(record, run, shard, number):
    """Returns what is wrong about a record, or `None`."""
    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return "it is no round"
    (found_run,) = features["run"].bytes_list.value or [b""]
    if found_run != run.encode():
        return f"it is of another run, {found_run.decode(errors='replace')!r} instead of {run!r}"
    for name, expected in (("shard", shard), ("number", number)):
        (found,) = features[name].int64_list.value or [None]
        if found != expected:
            return f"expected that of {name} {expected}, found that of {name} {found}"
    return None


def _parsed(record, run, place, layout):
    features = {
        "tensors": tf.io.FixedLenSequenceFeature((), tf.string, allow_missing=True),
        "run": tf.io.FixedLenFeature((), tf.string, ""),
        "number": tf.io.FixedLenFeature((), tf.int64, -1),
        "shard": tf.io.FixedLenFeature((), tf.int64, -1),
    }
    found = tf.io.parse_single_example(record, features)
    number, shard = place
    checks = [
        tf.debugging.assert_equal(found["run"], run, "a record is of another run, or missing"),
        tf.debugging.assert_equal(found["shard"], shard, "a record is of another shard"),
        tf.debugging.assert_equal(found["number"], number, "a record is of another round"),
    ]
    with tf.control_dependencies(checks):
        tensors = tf.identity(found["tensors"])
    return tuple(_array(tensors, index, layout) for index in range(len(layout.leaves)))


def _array(tensors, index, layout):
    leaf = layout.leaves[index]
    if index < layout.required:
        found = tf.io.parse_tensor(tensors[index], leaf["dtype"])
    else:
        found = tf.cond(
            index < tf.size(tensors),
            lambda: tf.io.parse_tensor(tensors[index], leaf["dtype"]),
            lambda: tf.zeros([0] * len(leaf["shape"]), leaf["dtype"]),
        )
    return tf.ensure_shape(found, leaf["shape"])


@contextlib.contextmanager
def _told_by_system(file):
    """Context that turns errors of writing into the OSError that the system would raise."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(ERRORS.get(type(error), errno.EIO), error.message, file) from error


def _bytes(values):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _integer(value):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
