"""The order of the arrays of a nested structure in a flat list, with their shapes and dtypes."""

import numpy as np
import tensorflow as tf

# Fields of a round whose axes may vary from batch to batch, the first one always.
BATCH_FIELDS = ("x", "y", "sample_weight")
# A field that some rounds have and others have not.
OPTIONAL = "sample_weight"


class Layout:
    """The order of the arrays of a nested structure in a flat list, with their shapes and dtypes.

    Args:
        description: A dictionary that JSON can hold. Its `kind` is `"leaf"` (with `dtype` and
            `shape`, where a length that varies is `None`), `"dict"` or `"list"` or `"tuple"`
            (with `items`), `"none"`, or `"optional"` (with an `item` that may be absent).

    Attributes:
        description: The same dictionary.
        leaves: The descriptions of the arrays, in the order of the flat list.
        required: How many of these each structure has; the others are absent from some.

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
        self.required = len(list(_leaves(description, skip_optional=True)))

    @classmethod
    def of(cls, structure):
        """Returns the layout of a round. The first axis of x, y and sample weights may vary."""
        # Last, so that where it is absent the places of all others stay.
        names = sorted(structure, key=lambda name: name == OPTIONAL)
        items = {name: _describe(structure[name], name in BATCH_FIELDS) for name in names}
        return cls({"kind": "dict", "items": items})

    @property
    def is_optional(self):
        """Whether some structures have sample weights and others have not."""
        return self.description["items"].get(OPTIONAL, {}).get("kind") == "optional"

    def widened(self, structure):
        """Returns the layout that fits a structure, too: this one, if it does.

        Other axes of x, y and sample weights may vary as well, and sample weights may be absent.

        Raises:
            ValueError: if the structure differs in another way.
        """
        found = Layout.of(structure).description
        merged = _merged(self.description, found, "")
        return self if merged == self.description else Layout(merged)

    def flatten(self, structure):
        """Returns the arrays of a structure as a flat list, without those that are absent.

        Raises:
            ValueError: if an array has another shape or dtype than the layout says.
        """
        if self.widened(structure) is not self:
            raise ValueError("the structure does not fit the layout: widen it first")
        return list(_flatten(self.description, structure))

    def unflatten(self, flat):
        """Returns the structure with the arrays or tensors of a flat list, one for each leaf."""
        iterator = iter(flat)
        return _unflatten(self.description, iterator)


def is_absent(sample_weight):
    """Tells whether arrays of sample weights stand for none: they are of no example."""
    return any(len(array) == 0 for array in tf.nest.flatten(sample_weight))


def or_ones(sample_weight, x):
    """Returns sample weights as tensors, ones where they are absent, which is the same loss.

    Args:
        sample_weight: Tensors, of no example where the weights are absent.
        x: The inputs of the batch, tensors.
    """
    examples = tf.shape(tf.nest.flatten(x)[0])[0]

    def filled(weight):
        # Ones are broadcast along an axis whose length is not known.
        lengths = [length or 1 for length in weight.shape[1:]]
        ones = tf.ones([examples, *lengths], weight.dtype)
        found = tf.cond(tf.equal(tf.shape(weight)[0], 0), lambda: ones, lambda: weight)
        return tf.ensure_shape(found, weight.shape) if tf.is_symbolic_tensor(weight) else found

    return tf.nest.map_structure(filled, sample_weight)


def _describe(value, is_batch):
    if value is None:
        return {"kind": "none"}
    if isinstance(value, dict):
        items = {key: _describe(item, is_batch) for key, item in value.items()}
        return {"kind": "dict", "items": items}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {"kind": kind, "items": [_describe(item, is_batch) for item in value]}
    array = np.asarray(value)
    shape = [None, *array.shape[1:]] if is_batch and array.ndim else list(array.shape)
    dtype = "string" if array.dtype.kind in "OSU" else array.dtype.name
    return {"kind": "leaf", "dtype": dtype, "shape": shape}


def _merged(one, other, field):
    """Returns the description that fits what either of two descriptions fits."""
    if field == OPTIONAL and {"optional", "none"} & {one["kind"], other["kind"]}:
        return _merged_optional(one, other)
    if one["kind"] != other["kind"]:
        raise _differs(field, one["kind"], other["kind"])
    if one["kind"] == "leaf":
        return _merged_leaf(one, other, field)
    if one["kind"] == "none":
        return one
    return one | {"items": _merged_items(one["items"], other["items"], field)}


def _merged_optional(one, other):
    given = [each.get("item", each) for each in (one, other) if each["kind"] != "none"]
    if not given:
        return one
    item = given[0] if len(given) == 1 else _merged(*given, OPTIONAL)
    return {"kind": "optional", "item": item}


def _merged_leaf(one, other, field):
    shapes, is_batch = (one["shape"], other["shape"]), field in BATCH_FIELDS
    fits = one["dtype"] == other["dtype"] and len(shapes[0]) == len(shapes[1])
    if not fits or (not is_batch and shapes[0] != shapes[1]):
        raise _differs(field, *(f"shape {leaf['shape']}, {leaf['dtype']}" for leaf in (one, other)))
    shape = [a if a == b else None for a, b in zip(*shapes, strict=True)]
    return one | {"shape": shape}


def _merged_items(one, other, field):
    if isinstance(one, list):
        if len(one) != len(other):
            raise _differs(field, f"{len(one)} arrays", f"{len(other)}")
        return [_merged(a, b, field) for a, b in zip(one, other, strict=True)]
    if set(one) != set(other):
        raise _differs(field, sorted(one), sorted(other))
    return {key: _merged(item, other[key], field or key) for key, item in one.items()}


def _differs(field, expected, found):
    return ValueError(
        f"{field or 'a round'}: expected {expected}, as in the first round; received {found}"
    )


def _items(description, structure=None):
    if description["kind"] == "dict":
        return [(item, structure and structure[key]) for key, item in description["items"].items()]
    return list(zip(description["items"], structure or description["items"], strict=True))


def _leaves(description, skip_optional=False):
    if description["kind"] == "leaf":
        yield description
    elif description["kind"] == "optional":
        if not skip_optional:
            yield from _leaves(description["item"])
    elif description["kind"] != "none":
        for item, _ in _items(description):
            yield from _leaves(item, skip_optional)


def _flatten(description, structure):
    if description["kind"] == "leaf":
        yield np.asarray(structure)
    elif description["kind"] == "optional":
        if structure is not None:
            yield from _flatten(description["item"], structure)
    elif description["kind"] != "none":
        for item, piece in _items(description, structure):
            yield from _flatten(item, piece)


def _unflatten(description, flat):
    kind = description["kind"]
    if kind == "none":
        return None
    if kind == "leaf":
        return next(flat)
    if kind == "optional":
        return _unflatten(description["item"], flat)
    if kind == "dict":
        return {key: _unflatten(item, flat) for key, item in description["items"].items()}
    items = [_unflatten(item, flat) for item in description["items"]]
    return items if kind == "list" else tuple(items)
