"""The rounds of a training run, kept on disk."""
