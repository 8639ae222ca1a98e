"""Tests of the manifest and its version."""

import json

import pytest

from keras_taylor.trajectory import manifests, sealed

CONTENT = {"run": "a", "layout": {}, "versions": {"keras_taylor": "0.9"}}


def test_a_manifest_comes_back(tmp_path):
    manifests.write(tmp_path, CONTENT)
    assert manifests.read(tmp_path) == CONTENT | {"format": manifests.FORMAT}


def test_other_versions_are_refused(tmp_path):
    file = tmp_path / manifests.MANIFEST
    file.write_text(json.dumps({"layout": {}, "versions": {"keras_taylor": "0.0.1"}}))
    with pytest.raises(ValueError, match=r"manifest.json has format 1.* by keras_taylor 0.0.1"):
        manifests.read(tmp_path)
    sealed.write_json(file, CONTENT | {"format": manifests.FORMAT + 1})
    with pytest.raises(ValueError, match=r"format 3, written by keras_taylor 0.9.*reads format 2"):
        manifests.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 2, "layout": {}}', b"\xff"])
def test_what_is_no_manifest_is_damaged(tmp_path, content):
    (tmp_path / manifests.MANIFEST).write_bytes(content)
    with pytest.raises(ValueError, match=r"manifest.json is damaged"):
        manifests.read(tmp_path)


def test_no_manifest(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no trajectory"):
        manifests.read(tmp_path)
