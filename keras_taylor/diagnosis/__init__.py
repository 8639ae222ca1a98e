"""From the numbers of a run to a decision: what to do with the learning rate."""
