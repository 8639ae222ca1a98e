"""Sums that grow with a run, and the bounds that follow from them."""
