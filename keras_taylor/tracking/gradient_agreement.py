"""Whether the gradients of a run agree with each other.

    gradient_agreement_s = ||sum_n g_s^n|| / sqrt(sum_n ||g_s^n||^2)

is 1 for gradients that are uncorrelated, as along a random walk; sqrt(N) for N equal ones: each
step is then too short to change what the next one sees; and below 1 where gradients undo each
other, as where steps jump across a valley. For plain SGD it is the distance from the first to the
last weights over the root of the squared lengths of the steps, so it is what the step ratio is
(see `keras_taylor.tracking.step_ratio`) where the last weights are the farthest. Unlike that one it
rests on gradients alone and means the same for every optimizer, with momentum or without.

Source: reconstruction, from the linear regret of Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor
Approximations, ICML 2017, whose term `R ||sum_n g^n||` it is over the guarantee.
"""

from keras import ops


def gradient_agreement(gradient_sum_norms, squared_norms):
    """Returns the gradient agreement, without a unit; NaN where a part got no gradient.

    Args:
        gradient_sum_norms: `||sum_n g_s^n||` for each part, a tensor.
        squared_norms: `sum_n ||g_s^n||^2` for each part, like it.

    Example:

    >>> float(gradient_agreement(np.array(6.0), np.array(9.0)))  # 4 equal gradients of length 1.5
    2.0
    """
    is_zero = ops.equal(squared_norms, 0)
    divisor = ops.sqrt(ops.where(is_zero, ops.ones_like(squared_norms), squared_norms))
    return ops.where(is_zero, float("nan"), gradient_sum_norms / divisor)
