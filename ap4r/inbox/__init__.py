"""Receiving: a delivery takes effect once, and its answer is stored for repeats."""
