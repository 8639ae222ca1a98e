"""Which layer a weight belongs to, and how many units it has: read off paths and shapes."""

import collections
import itertools
import re

# A kernel of a depthwise layer under Keras' own name, or of a separable one.
DEPTHWISE = re.compile(r"(^|/)depthwise_(kernel$|conv[12]d(_\d+)?/[^/]+$)")


def layer_keys(paths):
    """Returns the key of the layer of each weight.

    The key is the path up to its last `/`, or the whole path if there is none. If a path appears
    again, it belongs to another layer of the same name, and that layer's key gets a suffix.

    Args:
        paths: The path of each weight.

    Returns:
        A list of keys, one for each path.

    Example:

    >>> layer_keys(["a/kernel", "a/bias", "a/kernel", "a/bias"])
    ['a', 'a', 'a_1', 'a_1']
    """
    names = [path.rpartition("/")[0] or path for path in paths]
    seen, keys, taken = collections.Counter(), {}, set(names)
    result = []
    for name, path in zip(names, paths, strict=True):
        copy = (name, seen[path])
        seen[path] += 1
        if copy not in keys:
            keys[copy] = name if copy[1] == 0 else _free_name(name, taken)
            taken.add(keys[copy])
        result.append(keys[copy])
    return result


def _free_name(name, taken):
    suffixed = (f"{name}_{number}" for number in itertools.count(1))
    return next(candidate for candidate in suffixed if candidate not in taken)


def unit_counts(keys, weights):
    """Returns the number of units of each weight, given the key of the layer of each."""
    vectors = {
        (key, weight.shape[0])
        for key, weight in zip(keys, weights, strict=True)
        if len(weight.shape) == 1
    }
    return [
        _units(weight, {length for layer, length in vectors if layer == key})
        for key, weight in zip(keys, weights, strict=True)
    ]


def numbered(groups):
    """Returns the number of each weight's first unit, and the number of units of each layer.

    Args:
        groups: For each weight, its layer and its number of units. Weights for which both are
            equal share their units.
    """
    layers = {layer: 0 for layer, _ in groups}
    offsets = {}
    for layer, units in dict.fromkeys(groups):
        offsets[layer, units] = layers[layer]
        layers[layer] += units
    firsts = dict(zip(layers, itertools.accumulate(layers.values(), initial=0), strict=False))
    return [firsts[layer] + offsets[layer, units] for layer, units in groups], layers


def _units(weight, vector_lengths):
    shape = tuple(weight.shape)
    if not shape:
        return 1
    if len(shape) >= 3:
        flattened = shape[-2] * shape[-1]
        is_named = bool(DEPTHWISE.search(weight.path))
        if is_named or (flattened in vector_lengths and shape[-1] not in vector_lengths):
            return flattened
    return shape[-1]
