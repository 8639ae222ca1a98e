"""Jacobian-vector products of a model, layer by layer, in the forward pass that runs anyway.

While a model runs, each of its layers is asked for the tangents of its outputs, given those of its
inputs and weights. Dense and convolutional layers, rectifiers and max-pooling have rules of their
own; any other layer runs under TensorFlow's `ForwardAccumulator`. `benchmarks.taylor_loss` compares
it with one accumulator around the whole model.

Several products, along several directions, come out of one pass: each tensor has a tangent for each
direction, and a direction that does not move a tensor costs nothing there.
"""

import contextlib
import functools
import threading

import keras
import tensorflow as tf

from keras_taylor import backend
from keras_taylor.derivatives import affine, pooling

_one_at_a_time = threading.RLock()


class UnknownTensorError(Exception):
    """A layer was given a tensor that no layer made, so its tangents are not known."""


class Trace:
    """Propagates tangents through the layers of a model while it runs.

    Args:
        model: The model.
        variables: Weights that may move.
        directions: For each direction the tangents of these weights, `None` for weights that do not
            move.
        inputs: The tensors that the model is given, in any structure.
        paused: As of `keras_taylor.derivatives.expansion.expand`.
    """

    def __init__(self, model, variables, directions, inputs=(), paused=contextlib.nullcontext):
        self._model = model
        self._paused = paused
        self._directions = [
            {
                id(variable): tangent
                for variable, tangent in zip(variables, tangents, strict=True)
                if tangent is not None
            }
            for tangents in directions
        ]
        # The tensors are kept, so that no other can get the number of one that is gone.
        self._known = {}
        for tensor in keras.tree.flatten(inputs):
            self._know(tensor, self._still())

    @contextlib.contextmanager
    def recording(self):
        """Context in which the model runs and tangents are propagated."""
        with hooked(leaf_layers(self._model), self._traced):
            yield self

    def tangents(self, tensor):
        """Returns a tangent for each direction, `None` where the tensor does not move.

        Raises:
            UnknownTensorError: if no layer made the tensor.
        """
        if id(tensor) not in self._known:
            raise UnknownTensorError(
                f"a layer was given a tensor of shape {tuple(tensor.shape)} that no layer made, "
                "though none was when the model was checked: call the model on tensors of the "
                "shapes and dtypes that it declares"
            )
        return self._known[id(tensor)][1]

    def _know(self, tensor, tangents):
        self._known[id(tensor)] = (tensor, tangents)

    def _still(self):
        return [None] * len(self._directions)

    def _traced(self, layer, call):
        def traced(*args, **kwargs):
            inputs = {id(t): t for t in keras.tree.flatten((args, kwargs)) if _is_floating(t)}
            pairs = [(tensor, self.tangents(tensor)) for tensor in inputs.values()]
            run = functools.partial(call, *args, **kwargs)
            if not self._moves(layer, pairs):
                return self._run_still(run)
            if len(pairs) == 1 and affine.is_affine(layer):
                return self._run_affine(layer, run, *pairs[0])
            if len(pairs) == 1 and pooling.is_tiling(layer, *pairs[0][0].shape[1:]):
                return self._run_pooling(layer, run, *pairs[0])
            return self._run_any(layer, run, pairs)

        return traced

    def _moves(self, layer, pairs):
        weights = layer.trainable_variables
        return any(tangent is not None for _, tangents in pairs for tangent in tangents) or any(
            id(variable) in moving for moving in self._directions for variable in weights
        )

    def _know_all(self, outputs, tangents_of):
        """Notes the outputs of a layer, and the logits that a softmax or sigmoid left at them."""
        for output in keras.tree.flatten(outputs):
            logits = cached_logits(output)
            if logits is not None and id(logits) not in self._known:
                self._know(logits, tangents_of(logits))
            if id(output) not in self._known:
                self._know(output, tangents_of(output))

    def _run_still(self, call):
        outputs = call()
        self._know_all(outputs, lambda _: self._still())
        return outputs

    def _run_pooling(self, layer, call, inputs, input_tangents):
        output = call()
        with self._paused():
            self._know(output, _map(lambda t: pooling.select(inputs, t, layer), input_tangents))
        return output

    def _run_affine(self, layer, call, inputs, input_tangents):
        output, before = affine.call_capturing(layer, call)
        with self._paused():
            self._know_affine(layer, output, before, inputs, input_tangents)
        return output

    def _know_affine(self, layer, output, before, inputs, input_tangents):
        tangents = [
            affine.tangent(
                layer,
                inputs,
                input_tangent=tangent,
                kernel_tangent=moving.get(id(layer.kernel)),
                bias_tangent=moving.get(id(layer.bias)) if layer.use_bias else None,
            )
            for moving, tangent in zip(self._directions, input_tangents, strict=True)
        ]
        self._know(before, tangents)
        activation = layer.activation
        behind = _map(lambda t: affine.activation_tangent(activation, before, output, t), tangents)
        if output is not before:
            self._know(output, behind)

    def _run_any(self, layer, call, pairs):
        # All directions but the first run in a scope, before it: what the layer changes (moving
        # averages, seeds) and adds (losses), it does once.
        state = list(zip(layer.variables, backend.snapshot(layer.variables), strict=True))
        found = []
        for number in reversed(range(len(self._directions))):
            with aside(state, self._paused) if number else contextlib.nullcontext():
                primals = self._primals(number, layer, pairs)
                if number and not primals:
                    found.append(None)
                    continue
                with _accumulator(primals) as accumulator:
                    outputs = call()
            found.append((outputs, accumulator))
        self._know_run(outputs, found[::-1])
        return outputs

    def _primals(self, number, layer, pairs):
        moving = self._directions[number]
        primals = [(tensor, tangents[number]) for tensor, tangents in pairs]
        primals += [(v.value, moving.get(id(v))) for v in layer.trainable_variables]
        return [pair for pair in primals if pair[1] is not None]

    def _know_run(self, outputs, found):
        """Notes the tangents of outputs, which were computed once for each direction."""
        runs = [(run and _with_logits(run[0]), run and run[1]) for run in found]
        for index, tensor in enumerate(_with_logits(outputs)):
            # A layer may hand on a tensor, or the logits at it, known from where they were
            # made; this run knows nothing of logits that it did not make.
            if tensor is not None and id(tensor) not in self._known:
                tangents = [again and acc.jvp(again[index]) for again, acc in runs]
                self._know(tensor, tangents)


@contextlib.contextmanager
def aside(state, paused):
    """Context in which a run changes nothing, starts from `state`, and no caller's tape records."""
    with keras.StatelessScope(state), paused():
        yield


def cached_logits(output):
    """Returns the pre-activation that a softmax or sigmoid of Keras came from, or `None`.

    Keras leaves it at its outputs, under a private name, for its cross-entropies.
    """
    return getattr(output, "_keras_logits", None)


@contextlib.contextmanager
def hooked(layers, wrap):
    """Context in which each layer calls `wrap(layer, call)` in place of its `call`.

    It does so in this thread; other threads find the layers as they were, and wait with hooks of
    their own.
    """
    with _one_at_a_time:
        own = {id(layer): vars(layer).get("call") for layer in layers}
        for layer in layers:
            layer.call = _in_this_thread(wrap(layer, layer.call), layer.call)
        try:
            yield
        finally:
            for layer in layers:
                del layer.call
                if own[id(layer)] is not None:
                    layer.call = own[id(layer)]


def _in_this_thread(function, otherwise):
    thread = threading.get_ident()

    def chosen(*args, **kwargs):
        run = function if threading.get_ident() == thread else otherwise
        return run(*args, **kwargs)

    return chosen


def leaf_layers(model):
    """Returns the layers of a model and of the models nested in it, each once.

    A layer that is made of others, such as MultiHeadAttention, is one of them itself.
    """
    leaves = {}
    for layer in model.layers:
        inner = leaf_layers(layer) if isinstance(layer, keras.Model) else [layer]
        leaves.update({id(leaf): leaf for leaf in inner})
    return list(leaves.values())


def _with_logits(outputs):
    flat = keras.tree.flatten(outputs)
    return [*flat, *(cached_logits(output) for output in flat)]


def _accumulator(pairs):
    return (
        tf.autodiff.ForwardAccumulator(*map(list, zip(*pairs, strict=True))) if pairs else _Still()
    )


class _Still(contextlib.nullcontext):
    """Stands for an accumulator over nothing."""

    def __enter__(self):
        return self

    def jvp(self, _):
        return None


def _is_floating(value):
    return tf.is_tensor(value) and value.dtype.is_floating


def _map(function, tangents):
    return [None if tangent is None else function(tangent) for tangent in tangents]
