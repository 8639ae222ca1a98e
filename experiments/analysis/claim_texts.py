"""The paper's claims, and how `experiments.analysis.claims` decides about each."""

CLAIMS = {
    "C1a": "Regret stays below its guarantee R √(Σ ‖g‖²), at most R B √N: a √N bound.",
    "C1b": "Regret grows no faster than √N.",
    "C2": "Training loss = Taylor optimum + regret explains which optimizer wins.",
    "C3": "Gradients of rectifier networks shatter with depth.",
    "C4": "Adaptive optimizers explore more activation configurations and reach better solutions.",
}
HOW_DECIDED = {
    "A claim": "Holds if all of its evidence says so. Does not hold if at least half of the pieces "
    "of evidence are contrary: each is so by chance with a probability of 2.5 %, so half of them "
    "with one of at most 5 %, whatever rounds or runs they share (Markov's inequality). Otherwise "
    "the claim is undecided.",
    "C1a": "First: linear regret, an upper bound of regret, over the guarantee, live, for the "
    "network, every layer and every unit, at every N from 10 on that was read. Holds if it is at "
    "most 1 everywhere; else undecided, since regret is less. Second: regret as it was solved for, "
    "of each part and N. One of these holds if the interval of regret (certified; of a sample of "
    "rounds, at 95 %) is at or below the guarantee. The guarantee is for a rate tuned to N and the "
    "part. So one is contrary only for plain SGD, and only above what its constant rate η "
    "guarantees, R²/2η + η Σ ‖g‖²/2; for others the guarantee is a yardstick. Together as a claim "
    "is.",
    "C1b": "The slope of log cumulative regret on log N, from N = 10 to the end, with R fixed at "
    "the distance that the whole run travelled; beside it, the slope with R growing along with N. "
    "Its 95 % interval is from a bootstrap (over blocks of rounds, or, of a sample of rounds, from "
    "the errors of the estimates), widened by the intervals of regret. Holds if it is at or below "
    "0.5, or if regret is at or below zero at the end, since that grows no faster than anything. "
    "Does not hold if it is above 0.5 over at least two decades of N, with regret above zero at "
    "each N. Else undecided, since a slope above 0.5 over a short window contradicts nothing. "
    "From round 1, and from the middle of the run on, where that was recorded.",
    "C2": "The difference of an optimizer's loss and the best optimizer's, split into the "
    "difference of the optima and that of the regrets. This split is an identity, for one seed, "
    "which cannot fail. Holds if the certified intervals (of a sample of rounds, those at 95 %) "
    "decide which of the two differences is larger; undecided if they overlap.",
    "C3": "Spearman's correlation of depth and the autocorrelation of the gradient, averaged over "
    "half of a line between two digits. Holds for rectifiers if it is below zero with its 95 % "
    "interval and p is at most 0.05. Linear and tanh networks are the controls.",
    "C4": "First: RMS-normalised SGD at its usual rate minus tuned plain SGD, paired by seed. "
    "Holds if it switches rectifiers more often and its optimum is lower, each with its 95 % "
    "interval; that of the difference of two optima reaches from the lowest to the highest that "
    "their intervals allow. Second: rank correlations of switches and outcomes over all "
    "optimizers, judged by the interval and by p at most 0.05, and undecided for optima where the "
    "mean intervals of two optimizers overlap; the task's section has other measures. "
    "Third: the final training loss of tuned adaptive optimizers minus that of tuned plain SGD, "
    "paired by seed. Holds if it is below zero.",
}
