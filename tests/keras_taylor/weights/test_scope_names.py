"""Tests of the grammar of scopes."""

import pytest

from keras_taylor.weights.scope_names import parsed

NAMES = [
    ("network", ("network", None, None)),
    ("layers", ("layers", None, None)),
    ("units", ("units", None, None)),
    ("layer:dense", ("layers", "dense", None)),
    ("layer:block1/unit:0/dense", ("layers", "block1/unit:0/dense", None)),
    ("unit:dense/0", ("units", "dense", 0)),
    ("unit:block1/dense/12", ("units", "block1/dense", 12)),
]
BAD_FORMS = ["", "layer", "dense", "layer:", "unit:", "unit:dense", "unit:dense/", "unit:/1"]
BAD_FORMS += ["unit:dense/-1", "unit:dense/1.5", "unit:dense/²", "Layers", None, 3, ["layers"]]


@pytest.mark.parametrize(("scope", "expected"), NAMES)
def test_what_a_scope_names(scope, expected):
    assert parsed(scope) == expected


@pytest.mark.parametrize("scope", BAD_FORMS, ids=repr)
def test_other_forms_are_refused(scope):
    with pytest.raises(ValueError, match="unknown scope.*network, layers, units, layer:<key>"):
        parsed(scope)
