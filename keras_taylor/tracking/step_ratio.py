"""Whether the steps of a run agree with each other or undo each other.

    step_ratio_s = max_n ||W_s^n - W_s^1|| / sqrt(sum_n ||W_s^(n+1) - W_s^n||^2)
                   / sqrt((1 + m) / (1 - m))

for an optimizer with momentum m, whose steps agree that much even where gradients are a random
walk. For plain SGD it is `eta* / eta`: the best step within the distance travelled (see
`keras_taylor.tracking.guarantee`) over the step that was taken. About 1 to 2 the step fits; far
above, steps agree and longer ones would have paid; below 1, steps undo each other. Distances are
those of the weights that rounds begin with, so the ratio is 0 after one round and says little
after few.

Source: reconstruction, from the guarantee in Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor
Approximations, ICML 2017.
"""

from keras import ops


def step_ratio(distances, squared_updates, momentum=0.0):
    """Returns the step ratio, without a unit; NaN where no update moved a part.

    Args:
        distances: `max_n ||W_s^n - W_s^1||` for each part, a tensor.
        squared_updates: `sum_n ||W_s^(n+1) - W_s^n||^2` for each part, like it.
        momentum: m, from 0 up to but not 1.

    Example:

    >>> float(step_ratio(np.array(3.0), np.array(3.0)))  # 3 away after three steps of length 1
    1.7320508075688774
    """
    is_zero = ops.equal(squared_updates, 0)
    divisor = ops.sqrt(ops.where(is_zero, ops.ones_like(squared_updates), squared_updates))
    agreement = ((1 + momentum) / (1 - momentum)) ** 0.5
    return ops.where(is_zero, float("nan"), distances / (divisor * agreement))
