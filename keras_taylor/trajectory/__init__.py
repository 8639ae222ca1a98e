"""The rounds of a run on disk."""
