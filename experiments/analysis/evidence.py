"""What counts as evidence on a claim, and what several pieces of it say together.

Verdicts are `holds`, `does not hold` or `undecided`; each piece of evidence names the rows of the
results that it comes from.
"""

import dataclasses

from experiments.analysis import estimates

CONTROL = "control"
# The probability that a piece of evidence is contrary by chance, and that a claim is refuted so.
ERROR, LEVEL = 0.025, 0.05


@dataclasses.dataclass(frozen=True)
class Evidence:
    """One piece of evidence for or against a claim.

    Args:
        claim: A key of `experiments.analysis.claim_texts.CLAIMS`.
        task: The task, or `"initialisation"`.
        subject: What it is about: an optimizer, its layers, a kind of network.
        text: The numbers, with intervals.
        verdict: What it says about the claim.
        source: The place of the numbers: a directory, and keys of the `results.json` in it.
    """

    claim: str
    task: str
    subject: str
    text: str
    verdict: str
    source: str


def together(verdicts):
    """Returns the verdict on a claim that follows from several, without those of controls.

    The claim holds if all verdicts say so. It does not hold if chance gives as many contrary ones
    with a probability of at most 5 %, where each is contrary by chance with a probability of 2.5 %:
    if at least half of them are contrary. That is Markov's inequality, which holds whatever the
    pieces share, such as the rounds of one run. Otherwise it is undecided.
    """
    verdicts = [verdict for verdict in verdicts if verdict != CONTROL]
    contrary = verdicts.count(estimates.FAILS)
    if contrary and ERROR * len(verdicts) <= LEVEL * contrary:
        return estimates.FAILS
    return estimates.HOLDS if set(verdicts) == {estimates.HOLDS} else estimates.UNDECIDED


def counted(verdicts):
    """Returns each verdict with how often it was given, such as `2 holds, 1 undecided`."""
    verdicts = list(verdicts)
    return ", ".join(f"{verdicts.count(each)} {each}" for each in dict.fromkeys(verdicts))
