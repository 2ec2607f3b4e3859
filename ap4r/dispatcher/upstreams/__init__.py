"""Upstreams: which of their servers gets a call."""
