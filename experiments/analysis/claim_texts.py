"""The paper's claims, and how `experiments.analysis.claims` decides about each."""

CLAIMS = {
    "C1": "Regret grows no faster than √N.",
    "C2": "Training loss = Taylor optimum + regret explains which optimizer wins.",
    "C3": "Gradients of rectifier networks shatter with depth.",
    "C4": "Adaptive optimizers explore more activation configurations and reach better solutions.",
}
HOW_DECIDED = {
    "A claim": "Holds where all of its evidence says so. Does not hold where more pieces are "
    "contrary than by chance, of which each has 2.5 %, with a probability of at most 5 %: one of "
    "one or two, two of up to 14, three of up to 33. Undecided else.",
    "C1": "Slope of log cumulative regret on log N, with R fixed at the distance that the whole "
    "recording travelled, and beside it with R growing along. Its 95 % interval is from a "
    "bootstrap over blocks of rounds, widened by all that the certified intervals of regret leave "
    "open. Holds where the interval at fixed R is at or below 0.5, does not where it is above.",
    "C2": "How far the loss is above the best optimizer's, split into the difference of the optima "
    "and that of the regrets: an identity, of one seed, which cannot fail. Holds where the "
    "certified intervals tell which of the two is larger; undecided where they overlap.",
    "C3": "Spearman's correlation of depth and the autocorrelation of the gradient, its mean over "
    "half of a line between two digits. Holds for rectifiers where it is below "
    "zero with its 95 % interval and p at most 0.05; linear and tanh networks are the controls.",
    "C4": "RMS-normalised at its usual rate less tuned plain SGD, paired by seed: holds where "
    "switches a rectifier are more and the optimum is lower, each with its 95 % interval. Rank "
    "correlations of switches and outcomes over all optimizers: the interval, and p at most 0.05. "
    "Other measures of exploration are in the task's section. And the final training loss of "
    "tuned adaptive optimizers less that of tuned plain SGD, paired by seed: holds below zero.",
}
