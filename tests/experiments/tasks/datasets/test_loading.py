"""Tests of loading a dataset by its name."""

import shutil
import time

import pytest
import requests

from experiments.tasks import datasets, tasks
from experiments.tasks.errors import DataNotFoundError


@pytest.fixture
def offline(monkeypatch):
    """Lets every connection fail."""

    def refuse(*arguments, **options):
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(requests, "head", refuse)
    monkeypatch.setattr(requests.Session, "get", refuse)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_absent_data_offline_says_where_it_looked_and_how_to_mend_it(name, tmp_path, offline):
    start = time.perf_counter()
    with pytest.raises(DataNotFoundError) as caught:
        datasets.load(name, "train", str(tmp_path))
    assert str(tmp_path / name) in str(caught.value)
    assert "--data_dir" in str(caught.value)
    assert caught.value.__cause__ is not None
    assert time.perf_counter() - start < 10


def test_failed_download_keeps_its_cause(tmp_path, monkeypatch):
    class Builder:
        name, version, data_dir, url_infos = "some", "1.0.0", str(tmp_path / "some"), {}

        def download_and_prepare(self):
            raise OSError("disk full")

    with pytest.raises(DataNotFoundError, match="OSError") as caught:
        datasets._prepare(Builder())
    assert "disk full" in str(caught.value.__cause__)


def test_one_answering_host_is_enough(monkeypatch):
    class Builder:
        url_infos = {"https://gone.example/a": None, "https://there.example/b": None}

    def head(url, timeout):
        if "gone" in url:
            raise requests.ConnectionError("gone")

    monkeypatch.setattr(requests, "head", head)
    datasets._check_connection(Builder())


def test_digits_in_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataNotFoundError, match="writable"):
        datasets.load("digits", "train", str(tmp_path / "file"))


@pytest.mark.parametrize("file", ["dataset_info.json", "digits-train.tfrecord-00000-of-00001"])
def test_a_damaged_dataset_is_told(data_dir, tmp_path, file):
    copy = tmp_path / "copy"
    shutil.copytree(data_dir, copy)
    (path,) = copy.rglob(file)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataNotFoundError, match=f"'digits' in {copy} cannot be read"):
        tasks.examples(tasks.get("digits_classifier"), str(copy))
