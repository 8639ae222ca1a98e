"""Sums that grow with a run: pure functions of tensors."""
