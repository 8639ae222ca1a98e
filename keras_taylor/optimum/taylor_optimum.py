"""The Taylor optimum of a run, as a certified interval."""

import keras

from keras_taylor.optimum.certificate import Tolerance
from keras_taylor.optimum.driver import objectives, solve
from keras_taylor.optimum.optimum import INTERRUPTED, Optimum
from keras_taylor.optimum.sampled_rounds import rounds_of
from keras_taylor.weights.arguments import check_passes, check_positive, listed_radii
from keras_taylor.weights.parts import Part, by_scope, part_names


class NoMovementError(ValueError):
    """A part did not move in the recorded rounds, so that the distance travelled is no radius."""


def taylor_optimum(
    trajectory,
    model,
    scope="network",
    radius=None,
    tolerance=0.01,
    max_passes=None,
    loss=None,
    warm_start=None,
    verbose="auto",
    absolute_tolerance=None,
):
    """Solves for the Taylor optimum of a run: the best comparator in hindsight.

    Minimises `F(V) = (1/N) sum_n L_s^n(V)`, the average over the N recorded rounds of the Taylor
    losses of part s, over the ball of radius R about the first recorded weights, and proves how far
    from the minimum it is: with the gradient g of F at V, the optimum lies in

        [F(V) - <g, V - W^1> - R ||g||, F(V)] = [lower_bound, value]

    and average Taylor regret in `average_loss` minus these. Both ends are evaluated in float64,
    whatever the model's dtype (where the model has such a copy; else a warning says so), and moved
    outwards by an allowance for rounding. Each evaluation of F or of a curvature product takes one
    pass over the rounds. Dense layers and their units are solved on the layer's inputs and the
    outputs' Jacobian, which one pass collects.

    Ctrl-C ends the solve after one more pass and returns what was found; pass it as `warm_start` to
    go on.

    Args:
        trajectory: A `keras_taylor.Trajectory`.
        model: A model like the one that was recorded, compiled; its weights do not matter.
        scope: `"network"`, `"layers"`, `"units"`, or one part: `"layer:<key>"`,
            `"unit:<key>/<number>"`. A layer's key is its variables' path without the last part.
        radius: R, or `None` for the largest distance `||W^n - W^1||` that the part travelled (0 for
            a dead unit, whose only comparator is then `W^1`), or a list of these. Where the loss is
            quadratic, one solve answers all radii.
        tolerance: The gap to reach, relative to the value.
        absolute_tolerance: The gap to reach in units of the loss, in place of `tolerance`: where
            the value may be near zero, or regret is a small share of the loss.
        max_passes: The most passes over the rounds for each part; `None` for no limit.
        loss: A Keras loss; `None` for the compiled one, which has to be the one trained with.
            Another one on purpose has an optimum, but no regret: `average_loss` is then NaN.
        warm_start: An `Optimum` of the same part to start from.
        verbose: 0 for no progress bar.

    Returns:
        For one part an `Optimum`, or a list of them for a list of radii; `{layer: ...}` for
        `"layers"`, `{layer: [... of each unit]}` for `"units"`. A solve that ends early has a valid
        interval and `converged=False`; an interrupted call returns the parts solved so far.

    Raises:
        ValueError: if radius or tolerance is not positive, `max_passes` is not a positive integer,
            there are no rounds, the trajectory is damaged, of another model or of another loss than
            the compiled one, the loss is not known to be convex in the output, the scope is
            unknown, `warm_start` is no `Optimum`, or the one part asked for did not move and no
            radius was given (a `NoMovementError`).

    Example:

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="a")], name="net")
    >>> model.compile(keras.optimizers.SGD(0.1), loss="mse")
    >>> dataset = [(np.ones((4, 2)), np.array([[0.0], [1.0], [0.0], [1.0]]))] * 20
    >>> path = tempfile.mkdtemp() + "/run"
    >>> trajectory = keras_taylor.record(model, dataset, path, steps=20, verbose=0)
    >>> result = keras_taylor.taylor_optimum(trajectory, model, "layer:net/a", verbose=0)
    >>> result.converged, result.lower_bound <= result.value <= result.average_loss
    (True, True)

    Source: Balduzzi, McWilliams, Butler-Yeoman, Neural Taylor Approximations, ICML 2017; the
    formulas are a reconstruction. `keras_taylor.optimum.certificate` and
    `keras_taylor.optimum.subspace` name the sources of the solver.
    """
    tolerance = checked_tolerance(tolerance, absolute_tolerance)
    radii, several = listed_radii(radius)
    check_passes(max_passes)
    rounds = rounds_of(trajectory, model, loss)
    names, solved = part_names(rounds.scopes, scope), []
    start = _comparator(warm_start, rounds.scopes)
    if None in radii and len(names) == 1 and not rounds.travelled(Part(rounds.scopes, names[0])):
        raise NoMovementError(
            f"part {names[0]!r} did not move in the recorded rounds: give a radius, or record more"
        )
    # One bar for many units; other parts have one each, of passes.
    are_units = len(names) > 1 and all(name.startswith("unit:") for name in names)
    bar = keras.utils.Progbar(len(names), verbose=are_units and bool(verbose), unit_name="unit")
    with trajectory.damage_told():
        for objective in objectives(rounds, names):
            count, before = len(objective.parts), len(solved)
            options = tolerance, max_passes, [start] * count, 0 if are_units else verbose
            found = solve(
                objective,
                [radii] * count,
                *options,
                watch=lambda ended, before=before: bar.update(before + ended),
            )
            for of_part in found:
                optima = [optimum for optimum, _ in of_part]
                solved.append(optima if several else optima[0])
            if any(optimum.reason == INTERRUPTED for of_part in found for optimum, _ in of_part):
                break
    return by_scope(rounds.scopes, scope, solved)


def checked_tolerance(relative, absolute):
    """Returns the `Tolerance` that the arguments of a solve ask for.

    Args:
        relative: The gap relative to the value.
        absolute: The gap in units of the loss, in its place, or `None`.

    Raises:
        ValueError: if one of them is not positive.
    """
    check_positive("tolerance", relative)
    if absolute is None:
        return Tolerance(rtol=relative)
    check_positive("absolute_tolerance", absolute)
    return Tolerance(atol=absolute)


def _comparator(warm_start, scopes):
    """Returns the comparator to start from, or `None`."""
    if warm_start is None:
        return None
    if not isinstance(warm_start, Optimum):
        raise ValueError(
            "warm_start must be an Optimum, as this function returns it, received "
            f"{type(warm_start).__name__}"
        )
    scopes.check_shapes(warm_start.comparator, "the comparator of warm_start")
    return warm_start.comparator
