"""One Taylor loss and gradient in JAX, on the same network through Keras' JAX backend.

    KERAS_BACKEND=jax python -m benchmarks.jax_taylor_loss convnet

Prints the least milliseconds of several calls. `benchmarks.taylor_loss --jax` runs it in a new
process, since a process has one backend.
"""

import sys

import jax
import jax.numpy as jnp
import keras

from benchmarks import timing


def taylor_loss_and_gradient(model, loss, x, y):
    """Returns a compiled function of weights and comparator: value and gradient in the latter."""
    state = [variable.value for variable in model.non_trainable_variables]

    @jax.jit
    def run(weights, comparator):
        def outputs(weights):
            return model.stateless_call(weights, state, x, training=True)[0]

        displacement = [v - w for v, w in zip(comparator, weights, strict=True)]
        points, tangents = jax.jvp(outputs, (weights,), (displacement,))
        value, upstream = jax.value_and_grad(lambda points: loss(y, points))(points + tangents)
        return value, jax.vjp(outputs, weights)[1](upstream)[0]

    return run


def main(network):
    """Measures and prints."""
    if keras.backend.backend() != "jax":
        raise SystemExit("error: set KERAS_BACKEND=jax, since Keras was imported with another one")
    keras.utils.set_random_seed(0)
    task = timing.tasks.get(timing.NETWORKS[network])
    model = task.build_model()
    x, y = (jnp.asarray(array) for array in timing.numpy_batch(network))
    weights = [variable.value for variable in model.trainable_variables]
    comparator = [weight + 1e-3 for weight in weights]
    run = taylor_loss_and_gradient(model, task.build_loss(), x, y)
    calls = timing.CALLS[network]
    print(timing.least_milliseconds(lambda: jax.block_until_ready(run(weights, comparator)), calls))


if __name__ == "__main__":
    main(sys.argv[1])
