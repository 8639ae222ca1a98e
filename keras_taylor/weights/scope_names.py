"""The grammar of scopes.

A scope is a string that says which parts of the weights are asked for:

    "network"          all weights: one part
    "layers"           each layer
    "units"            each unit of each layer
    "layer:<key>"      one layer, such as "layer:dense_1"
    "unit:<key>/<n>"   one unit of a layer, counted from 0, such as "unit:dense_1/3"
"""

import re

SCOPES = ("network", "layers", "units")
ONE_UNIT = re.compile(r"unit:(.+)/([0-9]+)")


def parsed(scope, layers=()):
    """Splits a scope into what it names.

    Whether the layer or unit exists is checked by `Scopes.locate`, which knows the layers.

    Args:
        scope: Any scope.
        layers: Keys of layers for the message of an error, if they are known.

    Returns:
        A tuple of the kind of the parts, `"network"`, `"layers"` (for one layer, too) or
        `"units"` (for one unit, too); the key of the layer or `None`; and the number of the unit
        in its layer or `None`.

    Raises:
        ValueError: if the scope has none of the forms; the message lists them.

    Example:

    >>> parsed("layers"), parsed("layer:dense_1"), parsed("unit:dense_1/3")
    (('layers', None, None), ('layers', 'dense_1', None), ('units', 'dense_1', 3))
    """
    if isinstance(scope, str):
        if scope in SCOPES:
            return scope, None, None
        if scope.startswith("layer:") and scope != "layer:":
            return "layers", scope.removeprefix("layer:"), None
        if found := ONE_UNIT.fullmatch(scope):
            return "units", found[1], int(found[2])
    known = f", with the key of a layer: {', '.join(layers)}" if layers else ""
    raise ValueError(
        f"unknown scope {scope!r}: expected one of {', '.join(SCOPES)}, layer:<key>, "
        f"unit:<key>/<n>{known}"
    )
