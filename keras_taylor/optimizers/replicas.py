"""What Keras does not do on several replicas, refused before it trains something else."""

import keras

from keras_taylor import backend


def check_replicas(optimizer):
    """Raises a ValueError where Keras trains wrongly, or not at all, on several replicas.

    Seen with Keras 3.15 under `tf.distribute.MirroredStrategy`, with its own optimizers.

    Args:
        optimizer: The optimizer that is built or applied, with all that it wraps.

    Raises:
        ValueError: with the reason, and what to do.
    """
    count = backend.strategy_replica_count()
    if count == 1:
        return
    for reason in _reasons(optimizer):
        raise ValueError(f"{optimizer.name} cannot train on {count} replicas: {reason}")


def _reasons(optimizer):
    while optimizer is not None:
        yield from _reasons_of_one(optimizer)
        optimizer = getattr(optimizer, "inner_optimizer", None)
    if keras.config.dtype_policy().compute_dtype == "float16":
        yield (
            "under mixed_float16, Keras looks for gradients that are not finite on the first "
            "replica alone, so that an overflow on another one makes weights NaN. Use "
            "mixed_bfloat16, which needs no loss scale, or one replica"
        )


def _reasons_of_one(optimizer):
    if not backend.is_in_scope(optimizer._iterations):
        yield (
            f"{optimizer.name} was made outside of the strategy's scope, where Keras counts each "
            "step once for every replica. Make it, and what it wraps, within `strategy.scope()`"
        )
    if isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
        yield (
            "its loss scale makes Keras look for gradients that are not finite on the first "
            "replica alone, so that an overflow on another one makes weights NaN. Leave the loss "
            "scale out, with mixed_bfloat16 if need be, or use one replica"
        )
    if optimizer.gradient_accumulation_steps:
        yield (
            f"gradient_accumulation_steps={optimizer.gradient_accumulation_steps} sums over "
            "replicas within a condition, which TensorFlow refuses in a graph. Use larger batches"
        )
    if optimizer.use_ema and optimizer.ema_overwrite_frequency:
        yield (
            f"ema_overwrite_frequency={optimizer.ema_overwrite_frequency} writes weights within a "
            "condition, which TensorFlow refuses in a graph. Set it to None: weights are then "
            "overwritten at the end of `fit`"
        )
