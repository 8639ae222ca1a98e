"""How shattered the gradients of one network are."""

import numpy as np

from experiments.tasks import shattering_networks
from keras_taylor.exploration import shattering

OUTPUTS = 2
# Distances between two inputs, as shares of the mean distance between two digits.
DISTANCES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# How many inputs are compared with neighbours: by gradients in the input, and in all weights.
INPUTS, WEIGHT_INPUTS = 16, 4
LAYERS = 5


def measure(kind, depth, seed, x, width, lines, points):
    """Measures the gradients of one network.

    Args:
        kind: One of `experiments.tasks.shattering_networks.KINDS`.
        depth: Hidden layers (blocks, for residual networks).
        seed: Seed of the weights, and of the choice of the digits.
        x: Inputs, `(examples, size)`.
        width: Units of a hidden layer.
        lines: Lines between two inputs.
        points: Inputs on each line.

    Returns:
        A dictionary: `autocorrelation` `(lines * outputs, lags)` at `lags` (shares of the line),
        `half_widths`; `by_layer` with mean autocorrelations of the gradient in some layers'
        outputs; `input_correlation` and `weight_correlation` at `distances`.
    """
    model = shattering_networks.build(kind, depth, width, x.shape[1], OUTPUTS, seed)
    shattering_networks.calibrate(model, x)
    generator = np.random.default_rng(seed)
    ends = [x[generator.choice(len(x), 2, replace=False)] for _ in range(lines)]
    layers = _layers(model)
    found = _along(model, [shattering.line(*pair, points) for pair in ends], layers)
    lags = np.arange(points // 2) / (points - 1)
    curves = found["input"]
    apart = float(np.mean([np.linalg.norm(one - other) for one, other in ends]))
    return {
        "kind": kind,
        "depth": depth,
        "seed": seed,
        "lags": lags,
        "autocorrelation": curves,
        "half_widths": [shattering.half_width(lags, curve) for curve in curves],
        "by_layer": {name: np.mean(found[name], axis=0) for name in layers},
        "distances": DISTANCES,
        "input_correlation": _by_distance(
            lambda inputs: shattering.input_gradients(model, inputs), x[:INPUTS], apart, seed
        ),
        "weight_correlation": _by_distance(
            lambda inputs: shattering.weight_gradients(model, inputs),
            x[:WEIGHT_INPUTS],
            apart,
            seed,
        ),
    }


def _layers(model):
    """Returns the names of some dense layers, evenly spread over the depth."""
    names = [layer.name for layer in model.layers if "dense" in layer.name or layer.name == "stem"]
    places = np.unique(np.linspace(0, len(names) - 1, LAYERS).astype(int))
    return [names[place] for place in places]


def _along(model, lines, layers):
    """Returns the autocorrelations along lines, `{input or layer: (lines * outputs, lags)}`."""
    inputs = np.concatenate(lines)
    by_output = [
        shattering.layer_gradients(model, inputs, output, layers) for output in range(OUTPUTS)
    ]
    return {
        name: np.stack(
            [
                shattering.autocorrelation(along)
                for found in by_output
                for along in np.split(found[name], len(lines))
            ]
        )
        for name in ("input", *layers)
    }


def _by_distance(gradients, x, apart, seed):
    distances = [share * apart for share in DISTANCES]
    found = shattering.correlation_by_distance(gradients, x, distances, seed=seed)
    return shattering.band(found)[0]
