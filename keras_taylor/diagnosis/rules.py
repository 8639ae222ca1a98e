"""The rules that turn the sums of a run into advice, pure: all thresholds are here.

The gradient agreement `q = ||sum_n g^n|| / sqrt(sum_n ||g^n||^2)` tells how the step is off. For
plain SGD the best step over the distance travelled is q times the step taken; a longer step also
travels further, so the rate is off by more than q. On the tasks of `experiments`, over half decades
of rates, q after an eighth of a run was about 1.1 at the best rate, 2.4 at a third of it and 4.8 at
a tenth, for every optimizer but Lion: it has no unit and means the same for all. Thresholds were
set on the digits classifier and the autoencoders. On the MNIST classifier, which was left out, no
advice of 30 was in the wrong direction, and all five best rates fit.
"""

import dataclasses
import math
from collections.abc import Callable

# Below it, gradients agree because the run has hardly begun: at 22 rounds q was 0.8 to 2.3 for the
# best rates and 2.3 to 3.0 for a tenth of them, at 110 rounds 0.7 to 2.2 and 3.1 to 5.7.
MINIMUM_ROUNDS = 100
# Best rates had q from 0.65 to 1.6 in all but a few runs, a third of the best 1.35 and more.
RAISE_ABOVE, LOWER_BELOW = 1.6, 0.65
# Less than the 1.5 that was seen: too short a raise shows in the next run, too far a one hardly.
EXPONENT = 1.25
# Far from the best rate q only tells that it is far: it cannot exceed the root of the rounds.
LARGEST_FACTOR = 10.0
# Where steps are far too long, one early jump has the largest gradients: q is about 1 again. The
# step ratio is lower then: best rates had 0.85 and more, rates ten times too large 0.65 to 1.1, the
# lowest of them with adaptive optimizers.
SHORT_RATIO, SHORTEST_RATIO = 0.82, 0.75
LOWERING_FACTOR, LARGEST_LOWERING_FACTOR = 1 / 3, 1 / 10
# The share of rounds without finite loss and gradients from which on they are not mere spikes.
DIVERGED_SHARE = 0.1
# A layer whose q is so many times the network's lags; at best rates it was at most 2.8 times, and
# the q of single layers up to 3.
LAG, RAISE_LAYER_ABOVE = 3.0, 3.0
# Shares of dead rectifiers of a layer, and of a network with such a layer. Tuned runs of the MNIST
# autoencoder had up to 0.47 of all dead; a narrow layer may be dead in a network that learns.
DEAD_LAYER, DEAD_NETWORK = 0.9, 0.5


@dataclasses.dataclass(frozen=True)
class Reading:
    """What is known of a part of a network.

    Args:
        is_layer: Whether the part is a layer; else it is the network.
        rounds: Rounds in the sums.
        skipped: Rounds left out as not finite.
        agreement: The part's gradient agreement; NaN without a gradient.
        network_agreement: The network's.
        has_moved: Whether a weight of the part changed.
        step_ratio: The part's step ratio; NaN where it is not tracked.
        signs_only: Whether the optimizer uses signs of gradients and no more of them, as Lion does.
        dead_share: The share of the part's rectifiers that are off for all examples of a recorder;
            NaN without one.
        network_dead_share: The network's.
        deadest_layer: The largest such share of a single layer.
    """

    is_layer: bool
    rounds: int
    skipped: int
    agreement: float
    network_agreement: float
    has_moved: bool
    step_ratio: float = math.nan
    signs_only: bool = False
    dead_share: float = math.nan
    network_dead_share: float = math.nan
    deadest_layer: float = math.nan


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule: where it holds, it gives the verdict.

    Args:
        verdict: One word.
        holds: Function of a `Reading`.
        factor: Function of a `Reading`: what to multiply the rate by; NaN for no advice.
        of_network: The sentence about the network, a format with `factor` and `rounds`.
        of_layer: The sentence about a layer, likewise.
        reason: Why.
    """

    verdict: str
    holds: Callable
    factor: Callable
    of_network: str
    of_layer: str
    reason: str


def _no_factor(reading):
    return math.nan


def _is_of_dead_network(reading):
    has_dead_layer = reading.deadest_layer >= DEAD_LAYER
    return has_dead_layer and reading.network_dead_share >= DEAD_NETWORK


def _is_dead(reading):
    if reading.is_layer:
        return reading.dead_share >= DEAD_LAYER
    return _is_of_dead_network(reading)


# The first rule that holds speaks.
RULES = (
    Rule(
        "diverged",
        lambda r: r.skipped > DIVERGED_SHARE * (r.rounds + r.skipped),
        lambda r: 1 / LARGEST_FACTOR,
        "the run diverged: lower the rate about {times} times, or clip gradients",
        "the run diverged",
        "Rounds without a finite loss or gradient are left out of the sums; many of them are no "
        "spikes, and how much too large the step was is not known.",
    ),
    Rule(
        "no rounds",
        lambda r: r.rounds == 0,
        _no_factor,
        "no rounds tracked yet: train first",
        "no rounds tracked yet",
        "The sums are empty.",
    ),
    Rule(
        "dead",
        _is_dead,
        _no_factor,
        "most rectifiers are dead: begin anew, with another initialisation or a lower rate",
        "nearly all its units are dead",
        "Dead units have no gradient, so that the sums are about the few weights that are left, or "
        "about the rounds before: what they say of the rate is beside the point.",
    ),
    Rule(
        "of a dead network",
        _is_of_dead_network,
        _no_factor,
        "",
        "cannot tell: most rectifiers of the network are dead",
        "What a layer learns behind or before a dead one says nothing of its steps in a network "
        "that learns.",
    ),
    Rule(
        "too few rounds",
        lambda r: r.rounds < MINIMUM_ROUNDS,
        _no_factor,
        f"too few rounds to tell: {{rounds}} of the {MINIMUM_ROUNDS} that would do",
        "too few rounds to tell",
        "At the beginning gradients agree at any rate.",
    ),
    Rule(
        "still",
        lambda r: not r.has_moved or math.isnan(r.agreement),
        _no_factor,
        "nothing moved: look for a rate of zero, or a loss that does not reach the weights",
        "nothing moved: no gradient reached this layer, or all its units are dead",
        "Without a step or a gradient there is nothing to judge.",
    ),
    Rule(
        "cannot tell",
        lambda r: r.signs_only,
        _no_factor,
        "cannot tell: the optimizer uses signs alone, whose best rates have any gradient agreement",
        "cannot tell",
        "For Lion the agreement at the best rate was between 1.5 and 5.5 over three tasks.",
    ),
    Rule(
        "lags",
        lambda r: r.is_layer and r.agreement > max(LAG * r.network_agreement, RAISE_LAYER_ABOVE),
        lambda r: raising_factor(r.agreement),
        "",
        "this layer lags behind the others: its steps could be about {times} times longer",
        "Its gradients agree far more than those of the network, so its steps are shorter than "
        "they could be where those of other layers fit.",
    ),
    Rule(
        "raise",
        lambda r: r.agreement > (RAISE_LAYER_ABOVE if r.is_layer else RAISE_ABOVE),
        lambda r: raising_factor(r.agreement),
        "raise the rate about {times} times",
        "its steps could be about {times} times longer",
        "Gradients agree: a longer step would have gone where many short ones went.",
    ),
    Rule(
        "lower",
        lambda r: r.agreement < LOWER_BELOW or r.step_ratio < SHORT_RATIO,
        lambda r: lowering_factor(r.step_ratio),
        "lower the rate about {times} times",
        "its steps undo each other: they are too long",
        "Gradients or steps undo each other more than a random walk would: steps jump too far.",
    ),
    Rule(
        "fits",
        lambda r: True,
        lambda r: 1.0,
        "the step fits",
        "the step fits",
        "Gradients are about as uncorrelated as those of a random walk. A rate up to three times "
        "too large often looks the same.",
    ),
)


def raising_factor(agreement):
    """Returns what to multiply the rate by: `q^1.25`, at most 10.

    Example:

    >>> raising_factor(4.0), raising_factor(9.0)
    (5.656854249492381, 10.0)
    """
    return min(LARGEST_FACTOR, agreement**EXPONENT)


def lowering_factor(step_ratio):
    """Returns what to multiply the rate by where it is too large.

    Example:

    >>> lowering_factor(0.7), round(lowering_factor(1.0), 3)
    (0.1, 0.333)
    """
    return LARGEST_LOWERING_FACTOR if step_ratio < SHORTEST_RATIO else LOWERING_FACTOR


def judge(reading):
    """Returns `(verdict, factor, sentence)` of the first rule that holds.

    Args:
        reading: A `Reading`.

    Example:

    >>> judge(Reading(False, 200, 0, 4.0, 4.0, True))
    ('raise', 5.656854249492381, 'raise the rate about 6 times')
    """
    rule = next(rule for rule in RULES if rule.holds(reading))
    factor = rule.factor(reading)
    sentence = rule.of_layer if reading.is_layer else rule.of_network
    return rule.verdict, factor, sentence.format(times=_times(factor), rounds=reading.rounds)


def _times(factor):
    """Returns how many times up or down a factor is: a whole number, or a half below 2.5."""
    if math.isnan(factor):
        return ""
    times = max(factor, 1 / factor)
    return f"{times:.0f}" if times >= 2.5 else f"{round(2 * times) / 2:g}"
