"""Datasets by name, through TensorFlow Datasets."""

import contextlib
import io

import requests
import tensorflow_datasets as tfds

from experiments.tasks.datasets import digits  # noqa: F401 (its import registers the builder)
from experiments.tasks.errors import DataNotFoundError

# The builders that make their examples from installed packages, without a download.
LOCAL = ("digits",)
CONNECTION_TIMEOUT_SECONDS = 5


def load(name, split="train", data_dir=None):
    """Loads one split of a dataset, preparing it first where it is absent.

    Args:
        name: Name of a dataset known to TensorFlow Datasets; `"digits"` needs no download.
        split: Name of the split, such as `"train"` or `"test"`.
        data_dir: Directory of prepared datasets. Defaults to the one of TensorFlow Datasets,
            `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Returns:
        A `tf.data.Dataset` of feature dictionaries, in the same order each time.

    Raises:
        DataNotFoundError: if the dataset is absent and cannot be downloaded or written, or its
            description is damaged.
    """
    builder = prepared(name, data_dir)
    with readable(name, data_dir):
        return builder.as_dataset(split=split, shuffle_files=False)


def prepared(name, data_dir=None):
    """Returns the builder of a dataset, which it prepares where it is absent; see `load`."""
    with readable(name, data_dir):
        builder = tfds.builder(name, data_dir=data_dir)
    if not builder.is_prepared():
        _prepare(builder)
    return builder


@contextlib.contextmanager
def readable(name, data_dir):
    """Turns what reading a damaged dataset raises into a DataNotFoundError that says where."""
    try:
        yield
    # TensorFlow Datasets and TensorFlow raise errors of many kinds, which share no base.
    except Exception as error:
        raise DataNotFoundError(
            f"dataset {name!r} in {data_dir or 'the default directory of TensorFlow Datasets'} "
            f"cannot be read ({type(error).__name__}), it may be damaged: remove {name} there to "
            "have it prepared again, or name another directory with --data_dir"
        ) from error


def _prepare(builder):
    try:
        if builder.name in LOCAL:
            _prepare_quietly(builder)
        else:
            _check_connection(builder)
            builder.download_and_prepare()
    except Exception as error:
        raise DataNotFoundError(_absence_message(builder, error)) from error


def _prepare_quietly(builder):
    """Prepares without progress bars, since this takes about a second."""
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    finally:
        tfds.enable_progress_bar()


def _check_connection(builder):
    """Fails within seconds if no host answers, where the download would retry for minutes.

    One answer from any of the hosts is enough, since checksum files also list old mirrors that are
    gone.
    """
    first_url_by_host = {url.split("/")[2]: url for url in builder.url_infos or ()}
    failure = None
    for url in first_url_by_host.values():
        try:
            requests.head(url, timeout=CONNECTION_TIMEOUT_SECONDS)
            return
        except requests.RequestException as error:
            failure = error
    if failure is not None:
        raise failure


def _absence_message(builder, error):
    remedy = (
        "make that directory writable, or name another one with --data_dir"
        if builder.name in LOCAL
        else "connect to the network so that it can be downloaded, or let --data_dir name a "
        "directory of prepared TensorFlow Datasets, one that holds "
        f"{builder.name}/{builder.version}/dataset_info.json"
    )
    return (
        f"dataset {builder.name!r} is not prepared in {builder.data_dir} and preparing it failed "
        f"with {type(error).__name__}: to mend this, {remedy}"
    )
