"""Receiving: a delivery takes effect once, and its answer is kept for repeats."""
